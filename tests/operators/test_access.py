"""The permissions that each page and action of the admin needs, and the secrets that no page shows."""

from __future__ import annotations

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db.models import Model
from django.test import Client
from django.urls import reverse

from activity.models import ActivityRecord
from auth_tokens.models import ApiKey
from commands_platform.lib import clock
from deliveries.models import Delivery, State
from events.models import Hook
from organizations.models import Command, Organization
from organizations.models import User as PlatformUser
from scheduling.models import ScheduledExecution
from storage.models import Item
from tests.admin import PAGES, Samples, act, every_page, html_of, make_operator, make_samples, page, page_of
from tests.factories import make_delivery


@pytest.fixture
def operator(db: None) -> Client:
    return make_operator(is_superuser=True)


@pytest.fixture
def samples(db: None) -> Samples:
    return make_samples()


def test_no_page_shows_a_secret(operator: Client, samples: Samples) -> None:
    for path in every_page(samples):
        html = html_of(operator, path)
        for secret in samples.secrets:
            assert secret not in html, (path, secret)


def test_the_answer_of_a_receiver_is_shown_without_secrets(operator: Client, samples: Samples) -> None:
    delivery = next(row for row in samples.rows if isinstance(row, Delivery))

    html = html_of(operator, page_of(delivery))

    assert "{&quot;exchange_token&quot;:&quot;[removed]&quot;" in html


@pytest.mark.parametrize(
    "query",
    [
        "signing_secret__startswith=whsec_",
        "signature__gte=0",
        "previous_signing_secret__contains=a",
        "organization__api_keys__secret_hash__gte=a",
        "api_keys__prefix__startswith=a",
        "token_generation=0",
    ],
)
def test_a_secret_cannot_be_guessed_by_filters(operator: Client, samples: Samples, query: str) -> None:
    assert operator.get(f"{page(Command, 'changelist')}?{query}").status_code == 400


def test_a_secret_cannot_be_guessed_by_filters_of_another_model(operator: Client, samples: Samples) -> None:
    path = page(Delivery, "changelist")

    assert operator.get(f"{path}?command__signing_secret__startswith=whsec_").status_code == 400
    assert operator.get(f"{path}?body__contains=a").status_code == 400


def test_visitors_are_redirected_to_the_login(client: Client, samples: Samples) -> None:
    for path in every_page(samples):
        response = client.get(path)
        assert response.status_code == 302, path
        assert response["Location"].startswith("/admin/login/?next="), path


def test_the_dashboard_follows_a_login(client: Client, db: None) -> None:
    User.objects.create_superuser("root", password="correct horse battery staple")

    response = client.post("/admin/login/", {"username": "root", "password": "correct horse battery staple"})

    assert (response.status_code, response["Location"]) == (302, "/admin/")


def test_an_operator_without_permissions_sees_no_list(samples: Samples) -> None:
    stranger = make_operator()

    assert stranger.get(reverse("admin:index")).status_code == 200
    for model in PAGES:
        assert stranger.get(page(model, "changelist")).status_code == 403


def test_an_operator_with_only_view_permissions_is_offered_no_action(samples: Samples) -> None:
    viewer = make_operator("deliveries.view_delivery", "organizations.view_command")
    command = next(row for row in samples.rows if isinstance(row, Command))
    delivery = make_delivery(state=State.FAILED, reason="rejected", next_attempt_at=None, finished_at=clock.now())

    assert "Redeliver" in html_of(make_operator(is_superuser=True), page_of(delivery))
    assert "Redeliver" not in html_of(viewer, page_of(delivery))
    assert "Show secrets" not in html_of(viewer, page_of(command))
    for path in (page_of(delivery, "redeliver"), page_of(command, "show_secrets"), page_of(command, "rotate_secret")):
        assert viewer.post(path, {"_form_submitted": "on"}).status_code == 403


def test_only_superusers_can_change_logins(samples: Samples) -> None:
    editor = make_operator("auth.change_user", "auth.view_user", "auth.change_group")

    assert editor.get(page(User, "changelist")).status_code == 403
    assert editor.post(page_of(User.objects.get(username__startswith="operator"))).status_code == 403


@pytest.mark.parametrize(
    "model", [Organization, PlatformUser, Command, ApiKey, Delivery, ActivityRecord, User, LogEntry]
)
def test_rows_that_records_refer_to_cannot_be_deleted(operator: Client, samples: Samples, model: type[Model]) -> None:
    row = next((row for row in samples.rows if isinstance(row, model)), None)
    if row is None:
        act(operator, "deactivate", *[each for each in samples.rows if isinstance(each, Command)])
        row = LogEntry.objects.latest("pk")

    assert operator.post(page_of(row, "delete"), {"post": "yes"}).status_code == 403
    assert type(row)._default_manager.filter(pk=row.pk).exists()


@pytest.mark.parametrize("model", [Delivery, ActivityRecord, ScheduledExecution, Hook, Item, LogEntry])
def test_rows_that_only_the_platform_writes_cannot_be_added(operator: Client, model: type[Model]) -> None:
    assert operator.get(page(model, "add")).status_code == 403


def test_every_object_is_found_by_its_uuid(operator: Client, samples: Samples) -> None:
    for row in samples.rows:
        uuid = row.pk if isinstance(row, Delivery) else getattr(row, "uuid", None)
        if uuid is not None:
            assert page_of(row) in html_of(operator, f"{reverse('admin:search')}?extended=1&s={uuid}")


def test_a_uuid_is_not_found_without_permission_to_see_its_object(samples: Samples) -> None:
    schedule = next(row for row in samples.rows if isinstance(row, ScheduledExecution))

    assert page_of(schedule) not in html_of(make_operator(), f"{reverse('admin:search')}?extended=1&s={schedule.uuid}")
