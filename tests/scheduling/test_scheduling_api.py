"""Creating, reading and listing schedules over HTTP."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from scheduling.models import ScheduledExecution
from tests.api import ApiClient
from tests.factories import make_delivery
from tests.scheduling.schedules import KEYS, LIST, URL, create_uuid, detail, stored

pytestmark = pytest.mark.django_db


def test_a_schedule_has_exactly_the_nine_documented_keys_and_their_defaults(alice: ApiClient) -> None:
    uuid = create_uuid(alice)

    response = alice.get(detail(uuid))

    assert response.status_code == 200
    assert list(response.json()) == KEYS
    assert response.json() == {
        "uuid": uuid,
        "name": "report",
        "timezone_type": "organization_timezone",
        "is_active": True,
        "cron": None,
        "execution_frequency": 0,
        "repeats": -1,
        "payload": {},
        "callback_url": URL,
    }


def test_unknown_fields_are_ignored(alice: ApiClient) -> None:
    create_uuid(alice, colour="green", nested={"a": 1})


def test_the_payload_is_returned_exactly_as_it_was_sent(alice: ApiClient) -> None:
    payload = {"b": [1.0, 2, -0.0, 1e300], "a": {"é": None, "z": True}, "big": 2**63}

    uuid = create_uuid(alice, payload=payload)

    assert (
        b'"payload":{"b":[1.0,2,-0.0,1e+300],"a":{"\xc3\xa9":null,"z":true},"big":9223372036854775808}'
        in alice.get(detail(uuid)).content
    )


def test_the_path_works_without_its_slash_for_every_method(alice: ApiClient) -> None:
    response = alice.post(LIST[:-1], {"name": "report"})
    uuid = response.json()["uuid"]
    path = detail(uuid)[:-1]

    assert response.status_code == 200
    assert alice.get(path).status_code == 200
    assert alice.put(path, {"name": "other"}).json()["name"] == "other"
    assert alice.patch(path, {"name": "third"}).json()["name"] == "third"
    assert alice.delete(path).status_code == 204


def test_a_command_uuid_is_enough_without_a_token(alice: ApiClient) -> None:
    response = alice.post(LIST, {"name": "report", "command_uuid": str(alice.caller.command.uuid)}, token=None)

    schedule = stored(response.json()["uuid"])
    assert (schedule.command, schedule.owner) == (alice.caller.command, None)


def test_a_request_with_neither_token_nor_command_is_refused(alice: ApiClient) -> None:
    response = alice.post(LIST, {"name": "report"}, token=None)

    assert response.status_code == 400
    assert response.json() == {
        "detail": "You should specify an exchange token or valid command",
        "code": "missing_token_or_command",
    }


def test_a_command_of_another_organization_is_not_valid(alice: ApiClient, mallory: ApiClient) -> None:
    for uuid in (mallory.caller.command.uuid, uuid4()):
        response = alice.post(LIST, {"name": "report", "command_uuid": str(uuid)}, token=None)

        assert response.status_code == 400
        assert response.json() == {
            "detail": "Command is not valid. It must be owned by the same API Key organization owner",
            "code": "invalid_command_specified",
        }


def test_a_schedule_belongs_to_the_user_of_the_token_by_default(alice: ApiClient) -> None:
    assert stored(create_uuid(alice)).owner == alice.caller.user
    assert stored(create_uuid(alice, is_owned_by_user=False)).owner is None


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": None}, "name"),
        ({"name": 5}, "name"),
        ({"name": "x" * 256}, "name"),
        ({"name": "x\u0007"}, "name"),
        ({"name": "x", "cron": "* * * *"}, "cron"),
        ({"name": "x", "cron": "61 * * * *"}, "cron"),
        ({"name": "x", "cron": "0 0 30 2 *"}, "cron"),
        ({"name": "x", "cron": 5}, "cron"),
        ({"name": "x", "cron": "*/0 * * * *"}, "cron"),
        ({"name": "x", "execution_frequency": -1}, "execution_frequency"),
        ({"name": "x", "execution_frequency": "60"}, "execution_frequency"),
        ({"name": "x", "execution_frequency": 1.5}, "execution_frequency"),
        ({"name": "x", "execution_frequency": True}, "execution_frequency"),
        ({"name": "x", "execution_frequency": 400_000_000}, "execution_frequency"),
        ({"name": "x", "execution_frequency": 2**63}, "execution_frequency"),
        ({"name": "x", "repeats": 0}, "repeats"),
        ({"name": "x", "repeats": -2}, "repeats"),
        ({"name": "x", "repeats": 2**40}, "repeats"),
        ({"name": "x", "payload": []}, "payload"),
        ({"name": "x", "payload": "{}"}, "payload"),
        ({"name": "x", "payload": {"a": "x" * 300_000}}, "payload"),
        ({"name": "x", "timezone_type": "mars"}, "timezone_type"),
        ({"name": "x", "timezone_type": "custom_timezone"}, "timezone"),
        ({"name": "x", "timezone_type": "custom_timezone", "timezone": "Mars/Olympus"}, "timezone"),
        ({"name": "x", "timezone_type": "custom_timezone", "timezone": "localtime"}, "timezone"),
        ({"name": "x", "timezone": "../../etc/passwd"}, "timezone"),
        ({"name": "x", "timezone_type": "user_timezone", "is_owned_by_user": False}, "timezone_type"),
        ({"name": "x", "is_owned_by_user": "yes"}, "is_owned_by_user"),
        ({"name": "x", "command_uuid": "nonsense"}, "command_uuid"),
        ({"name": "x", "callback_url": "ftp://example.com/"}, "callback_url"),
        ({"name": "x", "callback_url": "http://10.0.0.1/"}, "callback_url"),
        ({"name": "x", "callback_url": "http://169.254.169.254/latest/"}, "callback_url"),
        ({"name": "x", "is_active": 1}, "is_active"),
    ],
)  # fmt: skip
def test_an_invalid_field_is_named(alice: ApiClient, body: dict[str, Any], field: str) -> None:
    response = alice.post(LIST, body)

    assert response.status_code == 400
    answer = response.json()
    assert answer["code"] == "params_validation_error"
    assert list(answer["errors"]) == [field]
    assert answer["detail"] == answer["errors"][field][0]
    assert not ScheduledExecution.objects.exists()


def test_all_invalid_fields_are_named_at_once(alice: ApiClient) -> None:
    answer = alice.post(LIST, {"name": "x", "cron": "nonsense", "timezone": "Mars/Olympus"}).json()

    assert set(answer["errors"]) == {"cron", "timezone"}


def test_a_schedule_can_be_created_without_any_callback_url(alice: ApiClient) -> None:
    alice.caller.command.callback_url = ""
    alice.caller.command.save(update_fields=["callback_url"])

    uuid = create_uuid(alice)

    assert alice.get(detail(uuid)).json()["callback_url"] is None


def test_further_fields_are_shown_on_request(alice: ApiClient) -> None:
    uuid = create_uuid(alice, execution_frequency=60)
    make_delivery(alice.caller.command, source_uuid=stored(uuid).uuid)

    answer = alice.get(detail(uuid) + "?expand=next_run_at,last_delivery").json()

    assert list(answer) == [*KEYS, "next_run_at", "last_delivery"]
    assert answer["next_run_at"].endswith("Z")
    assert answer["last_delivery"]["state"] == "pending"


@pytest.mark.parametrize("schedules", [0, 1])
def test_an_unknown_expansion_is_refused_even_for_an_empty_list(alice: ApiClient, schedules: int) -> None:
    uuids = [create_uuid(alice) for _ in range(schedules)]

    responses = [alice.get(path + "?expand=next_run_at,secret") for path in (LIST, *map(detail, uuids))]

    for response in responses:
        assert response.status_code == 400
        (message,) = response.json()["errors"]["expand"]
        assert message.startswith("'secret' cannot be expanded. Choose from: next_run_at, last_delivery, ")


def test_the_list_shows_the_callers_schedules_newest_first(alice: ApiClient, mallory: ApiClient) -> None:
    uuids = [create_uuid(alice) for _ in range(3)]
    create_uuid(mallory)

    answer = alice.get(LIST + "?limit=2").json()

    assert answer["count"] == 3
    assert [each["uuid"] for each in answer["results"]] == uuids[:0:-1]
    assert "offset=2" in answer["next"]


def test_the_list_costs_the_same_for_one_and_for_many(alice: ApiClient, django_assert_max_num_queries: Any) -> None:
    for _ in range(10):
        create_uuid(alice)

    with django_assert_max_num_queries(5):
        alice.get(LIST)
