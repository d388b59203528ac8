"""`external_id` and `tags`, and `PUT …/by-external-id/{id}/`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from django.db import transaction

from scheduling.models import ScheduledExecution
from tests.api import ApiClient, make_caller
from tests.factories import make_api_key, make_command, make_schedule
from tests.locks import wait_for_waiters
from tests.scheduling.schedules import LIST, change, create, expanded
from tests.threads import Threads

BODY: dict[str, Any] = {"name": "report", "cron": "0 9 * * *"}


def path_of(external_id: str) -> str:
    return f"{LIST}by-external-id/{external_id}/"


@pytest.mark.django_db
def test_put_creates_a_schedule_and_then_changes_it(alice: ApiClient) -> None:
    created = alice.put(path_of("daily-report"), {**BODY, "payload": {"a": 1}})
    assert created.status_code == 201
    changed = alice.put(path_of("daily-report"), {"name": "other", "cron": "0 10 * * *"})
    assert changed.status_code == 200
    assert changed.json() == {**created.json(), "name": "other", "cron": "0 10 * * *"}
    schedule = ScheduledExecution.objects.get()
    assert (schedule.external_id, schedule.payload, schedule.owner) == ("daily-report", {"a": 1}, alice.caller.user)


@pytest.mark.django_db
def test_put_that_changes_nothing_keeps_the_next_run(alice: ApiClient, time: list[datetime]) -> None:
    alice.put(path_of("x"), {"name": "report", "execution_frequency": 3600})
    before = ScheduledExecution.objects.values("next_run_at", "updated_at").get()
    time[0] = time[0].replace(minute=30)
    assert alice.put(path_of("x"), {"name": "report", "execution_frequency": 3600}).status_code == 200
    assert ScheduledExecution.objects.values("next_run_at", "updated_at").get() == before


@pytest.mark.django_db
def test_an_external_id_is_shown_and_can_be_changed(alice: ApiClient) -> None:
    schedule = create(alice, cron="0 9 * * *", external_id="a", tags=["x", "y", "x"])
    assert expanded(alice, schedule, "external_id", "tags") == {"external_id": "a", "tags": ["x", "y"]}
    change(alice, schedule, external_id=None, tags=None)
    assert expanded(alice, schedule, "external_id", "tags") == {"external_id": None, "tags": []}


@pytest.mark.django_db
def test_an_external_id_is_unique_for_the_command_in_the_organization(alice: ApiClient) -> None:
    create(alice, cron="0 9 * * *", external_id="a")
    second = create(alice, cron="0 9 * * *")
    taken = {"external_id": ["Another schedule of the command has this external_id."]}
    for response in (
        alice.post(LIST, {**BODY, "external_id": "a"}),
        alice.put(f"{LIST}{second.uuid}/", {"external_id": "a"}),
    ):
        assert (response.status_code, response.json()["errors"]) == (400, taken)
    other = ApiClient(make_caller(alice.caller.organization))
    create(other, cron="0 9 * * *", external_id="a")
    create(ApiClient(make_caller()), cron="0 9 * * *", external_id="a")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"external_id": "a/b"}, "external_id"),
        ({"external_id": ".."}, "external_id"),
        ({"external_id": "x" * 256}, "external_id"),
        ({"external_id": 5}, "external_id"),
        ({"tags": ["x"] * 17}, "tags"),
        ({"tags": "x"}, "tags"),
        ({"tags": ["x" * 65]}, "tags.0"),
        ({"tags": [""]}, "tags.0"),
        ({"tags": [5]}, "tags.0"),
    ],
)
def test_an_invalid_value_is_refused(alice: ApiClient, body: dict[str, Any], field: str) -> None:
    response = alice.post(LIST, {**BODY, **body})
    assert response.status_code == 400
    assert list(response.json()["errors"]) == [field]


@pytest.mark.django_db
def test_the_external_id_of_the_body_is_that_of_the_path(alice: ApiClient) -> None:
    assert alice.put(path_of("a"), {**BODY, "external_id": "a"}).status_code == 201
    assert list(alice.put(path_of("a"), {**BODY, "external_id": "b"}).json()["errors"]) == ["external_id"]
    assert alice.put(path_of("a"), {}).status_code == 400


@pytest.mark.django_db
def test_lists_are_filtered_by_external_id_and_tag(alice: ApiClient) -> None:
    one = create(alice, cron="0 9 * * *", external_id="one", tags=["x", "a,b"])
    two = create(alice, cron="0 9 * * *", external_id="two", tags=["y"])
    create(alice, cron="0 9 * * *")

    def found(query: str) -> set[str]:
        return {row["uuid"] for row in alice.get(f"{LIST}?{query}").json()["results"]}

    assert found("external_id=one") == {str(one.uuid)}
    assert found("external_id=one,two") == {str(one.uuid), str(two.uuid)}
    assert found("tag=x") == {str(one.uuid)}
    assert found("tag=x,y") == {str(one.uuid), str(two.uuid)}
    assert found("tag=a%5C,b") == {str(one.uuid)}
    assert found("tag=z") == set()


@pytest.mark.django_db
def test_a_command_uuid_stands_for_a_token(alice: ApiClient) -> None:
    body = {**BODY, "command_uuid": str(alice.caller.command.uuid)}
    assert alice.put(path_of("a"), body, token=None).status_code == 201
    assert alice.put(path_of("a"), body, token=None).status_code == 200
    assert ScheduledExecution.objects.get().owner is None
    assert alice.put(path_of("a"), BODY, token=None).json()["code"] == "missing_token_or_command"


@pytest.mark.django_db
def test_a_schedule_of_a_user_is_not_changed_without_a_token(alice: ApiClient) -> None:
    alice.put(path_of("a"), BODY)
    body = {"name": "other", "command_uuid": str(alice.caller.command.uuid)}
    assert alice.put(path_of("a"), body, token=None).json()["code"] == "missing_token"
    assert ScheduledExecution.objects.get().name == "report"


@pytest.mark.django_db
def test_a_stranger_gets_a_schedule_of_its_own_and_a_key_is_needed(alice: ApiClient) -> None:
    alice.put(path_of("a"), BODY)
    mallory = ApiClient(make_caller())
    assert mallory.put(path_of("a"), {**BODY, "name": "mine"}).status_code == 201
    assert alice.put(path_of("a"), BODY, key=None).status_code == 401
    body = {**BODY, "command_uuid": str(alice.caller.command.uuid)}
    assert mallory.put(path_of("a"), body, token=None).json()["code"] == "invalid_command_specified"


@pytest.mark.django_db
def test_a_key_of_the_organization_names_the_command(alice: ApiClient) -> None:
    command = make_command(alice.caller.organization)
    _, key = make_api_key(alice.caller.organization)
    response = alice.put(path_of("a"), {**BODY, "command_uuid": str(command.uuid)}, key=key, token=None)
    assert response.status_code == 201
    assert ScheduledExecution.objects.get().command == command


@pytest.mark.django_db(transaction=True)
def test_a_request_that_another_one_outruns_changes_what_that_has_created(alice: ApiClient, threads: Threads) -> None:
    with transaction.atomic():
        make_schedule(alice.caller.command, owner=alice.caller.user, external_id="a")
        # It sees no schedule yet, and then waits for the other one's entry in the unique index.
        second = threads.start(lambda: alice.put(path_of("a"), {**BODY, "name": "two"}))
        wait_for_waiters()

    assert second.result(30).status_code == 200
    assert ScheduledExecution.objects.get().name == "two"
