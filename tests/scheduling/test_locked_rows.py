"""The API and the admin wait only a limited time for a row that somebody else has locked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.urls import reverse

from deliveries.models import Delivery, State
from organizations.models import Organization
from scheduling import services
from scheduling.models import ScheduledExecution
from tests.admin import make_operator
from tests.api import ApiClient
from tests.factories import make_command, make_delivery, make_schedule
from tests.locks import held_elsewhere, without_waiting
from tests.scheduling.schedules import URL, detail

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def schedule(alice: ApiClient) -> ScheduledExecution:
    return make_schedule(alice.caller.command)


@pytest.fixture
def held(schedule: ScheduledExecution) -> Iterator[None]:
    """Locks the schedule's row elsewhere, and gives this connection the web's lock timeout."""
    with held_elsewhere(ScheduledExecution.objects.filter(pk=schedule.pk)), without_waiting():
        yield


@pytest.mark.parametrize(("method", "body"), [("PATCH", {"name": "x"}), ("PUT", {"name": "x"}), ("DELETE", None)])
@pytest.mark.usefixtures("held")
def test_the_api_answers_busy(alice: ApiClient, schedule: ScheduledExecution, method: str, body: Any) -> None:
    response = alice.request(method, detail(str(schedule.uuid)), body)

    assert response.status_code == 503
    assert response.json() == {
        "detail": "Somebody else is changing the same thing right now. Try again in a moment.",
        "code": "busy",
    }
    assert response.headers["Retry-After"] == "1"


@pytest.mark.usefixtures("held")
def test_reading_does_not_wait_for_a_lock(alice: ApiClient, schedule: ScheduledExecution) -> None:
    assert alice.get(detail(str(schedule.uuid))).status_code == 200


def test_deleting_a_schedule_does_not_wait_long_for_a_locked_delivery(
    alice: ApiClient, schedule: ScheduledExecution
) -> None:
    row = make_delivery(alice.caller.command, source_uuid=schedule.uuid)

    with held_elsewhere(Delivery.objects.filter(pk=row.pk)), without_waiting():
        response = alice.delete(detail(str(schedule.uuid)))

    assert (response.status_code, response.json()["code"]) == (503, "busy")
    row.refresh_from_db()
    assert row.state == State.PENDING


@pytest.mark.usefixtures("held")
def test_the_admin_says_that_the_schedule_is_busy_and_changes_nothing(schedule: ScheduledExecution) -> None:
    operator = make_operator(is_superuser=True)
    change = reverse("admin:scheduling_scheduledexecution_change", args=[schedule.pk])
    changelist = reverse("admin:scheduling_scheduledexecution_changelist")
    selected = {"action": "delete_selected", "_selected_action": [schedule.pk], "post": "yes"}

    delete = reverse("admin:scheduling_scheduledexecution_delete", args=[schedule.pk])

    for response in (
        operator.post(delete, {"post": "yes"}, follow=True),
        operator.post(changelist, selected, follow=True),
        operator.post(changelist, {"action": "pause", "_selected_action": [schedule.pk]}, follow=True),
    ):
        assert response.status_code == 200
        assert b"Somebody else is changing the same thing right now" in response.content
    assert operator.get(change).status_code == 200
    schedule.refresh_from_db()
    assert schedule.is_active


def test_any_other_page_of_the_admin_answers_503_and_not_500() -> None:
    organization = make_command(callback_url=URL).organization
    operator = make_operator(is_superuser=True)
    operator.raise_request_exception = False
    path = reverse("admin:organizations_organization_change", args=[organization.pk])
    body = {"name": "Another name", "timezone": "UTC", "is_active": "on"}

    with held_elsewhere(Organization.objects.filter(pk=organization.pk)), without_waiting():
        response = operator.post(path, body, headers={"Accept": "text/html"})

    assert response.status_code == 503
    assert response.headers["Retry-After"] == "1"
    assert b"Somebody else is changing this right now" in response.content


def test_a_request_succeeds_if_the_lock_is_released_in_time(schedule: ScheduledExecution) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '2s'")

    assert services.pause(schedule=schedule).is_active is False


def test_a_busy_page_is_answered_in_json_if_the_client_wants_json() -> None:
    organization = make_command(callback_url=URL).organization
    operator = make_operator(is_superuser=True)
    operator.raise_request_exception = False
    path = reverse("admin:organizations_organization_change", args=[organization.pk])

    with held_elsewhere(Organization.objects.filter(pk=organization.pk)), without_waiting():
        response = operator.post(path, {"name": "Another name", "timezone": "UTC", "is_active": "on"})

    assert (response.status_code, response.json()["code"]) == (503, "busy")
