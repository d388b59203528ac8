"""`POST /v1/platform/activity/`: what is recorded, and which bodies are refused."""

from __future__ import annotations

import re
from datetime import datetime
from uuid import uuid4

import pytest
from pytest_django import DjangoAssertNumQueries

from activity.models import ActivityRecord
from commands_platform.lib import clock
from commands_platform.lib.instants import format_instant
from tests.activity.records import AT, BODY, BOTH_PATHS, KEYS, PATH, make_record
from tests.api import ApiClient, make_caller
from tests.factories import make_installation, make_organization, make_token, make_user

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("path", BOTH_PATHS)
def test_recording_returns_exactly_the_documented_keys(alice: ApiClient, path: str) -> None:
    response = alice.post(path, BODY)

    record = ActivityRecord.objects.get()
    assert response.status_code == 201
    assert list(response.json()) == KEYS
    assert response.json() == {
        "command": str(alice.caller.command.uuid),
        "organization": str(alice.caller.organization.uuid),
        "user": str(alice.caller.user.uuid),
        "category": "kudos",
        "action": "posted",
        "label": "To Grace",
        "metadata": {"points": 3, "tags": ["a"]},
        "created_at": format_instant(record.created_at),
    }


@pytest.mark.parametrize("given", [{}, {"label": None, "metadata": None}])
def test_by_default_the_label_is_null_and_the_metadata_empty(alice: ApiClient, given: dict[str, None]) -> None:
    answer = alice.post(PATH, {"category": "kudos", "action": "posted"} | given).json()

    assert (answer["label"], answer["metadata"]) == (None, {})


@pytest.mark.parametrize("label", [None, "", "two\nlines", "👩‍💻", "x" * 1000])
def test_a_label_may_be_any_string_or_null(alice: ApiClient, label: str | None) -> None:
    response = alice.post(PATH, BODY | {"label": label})

    assert response.status_code == 201
    assert response.json()["label"] == label
    assert alice.get(PATH).json()[0]["label"] == label


def test_unknown_fields_are_ignored(alice: ApiClient) -> None:
    answer = alice.post(PATH, BODY | {"created_at": "2020-01-01T00:00:00Z", "organization": str(uuid4())}).json()

    assert answer["organization"] == str(alice.caller.organization.uuid)
    assert not answer["created_at"].startswith("2020")


def test_metadata_is_returned_as_it_was_sent(alice: ApiClient) -> None:
    metadata = {"b": 1, "a": {"z": None, "y": [1.5, True, "é"]}, "": 2**63}

    alice.post(PATH, BODY | {"metadata": metadata})

    (record,) = alice.get(PATH).json()
    assert record["metadata"] == metadata
    assert list(record["metadata"]) == ["b", "a", ""]


def test_created_at_is_the_database_time_in_utc_and_the_same_when_listed(alice: ApiClient) -> None:
    before = clock.now()

    answer = alice.post(PATH, BODY).json()

    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z", answer["created_at"])
    assert before <= datetime.fromisoformat(answer["created_at"]) <= clock.now()
    assert alice.get(PATH).json() == [answer]


def test_a_whole_second_is_shown_without_a_fraction(alice: ApiClient) -> None:
    make_record(alice.caller, created_at=AT)

    assert alice.get(PATH).json()[0]["created_at"] == "2026-02-25T12:00:00Z"


def test_a_record_may_be_for_another_user_of_the_organization(alice: ApiClient) -> None:
    colleague = make_user(alice.caller.organization)

    response = alice.post(PATH, BODY | {"user_uuid": str(colleague.uuid).upper()})

    assert response.status_code == 201
    assert response.json()["user"] == str(colleague.uuid)
    assert ActivityRecord.objects.get().user == colleague


def test_a_record_may_be_for_an_inactive_user(alice: ApiClient) -> None:
    former = make_user(alice.caller.organization, is_active=False)

    assert alice.post(PATH, BODY | {"user_uuid": str(former.uuid)}).status_code == 201


@pytest.mark.parametrize("given", [{}, {"user_uuid": None}])
def test_a_token_without_a_user_creates_a_record_without_one(alice: ApiClient, given: dict[str, None]) -> None:
    token = make_token(alice.caller.command)

    response = alice.post(PATH, BODY | given, token=token)

    assert response.status_code == 201
    assert response.json()["user"] is None
    assert alice.get(PATH, token=token).json()[0]["user"] is None


def test_with_a_token_without_a_user_the_body_may_name_one(alice: ApiClient) -> None:
    answer = alice.post(
        PATH, BODY | {"user_uuid": str(alice.caller.user.uuid)}, token=make_token(alice.caller.command)
    ).json()

    assert answer["user"] == str(alice.caller.user.uuid)


def test_an_unknown_user_or_one_of_another_organization_is_refused(alice: ApiClient, mallory: ApiClient) -> None:
    message = "There is no such user in the token's organization."
    for uuid in (uuid4(), mallory.caller.user.uuid):
        response = alice.post(PATH, BODY | {"user_uuid": str(uuid)})

        assert response.status_code == 400
        assert response.json() == {
            "detail": message,
            "code": "params_validation_error",
            "errors": {"user_uuid": [message]},
        }
    assert not ActivityRecord.objects.exists()


def test_a_public_command_records_in_its_users_organization() -> None:
    owner = make_caller(is_public=True)
    guest = make_user(make_organization())
    make_installation(owner.command, guest.organization)
    client, token = ApiClient(owner), make_token(owner.command, guest)

    answer = client.post(PATH, BODY, token=token).json()

    assert answer["organization"] == str(guest.organization.uuid)
    assert answer["user"] == str(guest.uuid)
    assert client.get(PATH, token=token).json() == [answer]
    assert client.get(PATH).json() == []
    assert client.post(PATH, BODY | {"user_uuid": str(owner.user.uuid)}, token=token).status_code == 400


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"action": "posted"}, "category"),
        ({"category": "kudos"}, "action"),
        (BODY | {"category": None}, "category"),
        (BODY | {"category": ""}, "category"),
        (BODY | {"category": 1}, "category"),
        (BODY | {"category": "x" * 256}, "category"),
        (BODY | {"category": "a\u202eb"}, "category"),
        (BODY | {"action": ["posted"]}, "action"),
        (BODY | {"action": "x" * 256}, "action"),
        (BODY | {"action": "a\nb"}, "action"),
        (BODY | {"label": 1}, "label"),
        (BODY | {"label": "x" * 1001}, "label"),
        (BODY | {"metadata": []}, "metadata"),
        (BODY | {"metadata": "{}"}, "metadata"),
        (BODY | {"metadata": {"text": "x" * 65_536}}, "metadata"),
        (BODY | {"user_uuid": "me"}, "user_uuid"),
        (BODY | {"user_uuid": 1}, "user_uuid"),
        (BODY | {"user_uuid": ""}, "user_uuid"),
        (BODY | {"user_uuid": uuid4().hex}, "user_uuid"),
        ([], "non_field_errors"),
    ],
)
def test_an_invalid_value_is_refused_with_its_field(alice: ApiClient, body: object, field: str) -> None:
    response = alice.post(PATH, body)

    answer = response.json()
    assert response.status_code == 400
    assert list(answer) == ["detail", "code", "errors"]
    assert answer["code"] == "params_validation_error"
    assert list(answer["errors"]) == [field]
    assert answer["detail"] == answer["errors"][field][0]
    assert not ActivityRecord.objects.exists()


def test_every_invalid_field_is_reported_and_the_detail_is_the_first_message(alice: ApiClient) -> None:
    answer = alice.post(PATH, {"label": 1}).json()

    assert list(answer["errors"]) == ["category", "action", "label"]
    assert answer["detail"] == "This field is required."


def test_metadata_of_64_kib_is_accepted(alice: ApiClient) -> None:
    metadata = {"text": "x" * (65_536 - len('{"text":""}'))}

    assert alice.post(PATH, BODY | {"metadata": metadata}).json()["metadata"] == metadata


def test_recording_needs_one_query_besides_that_for_key_and_token(
    alice: ApiClient, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    alice.post(PATH, BODY)

    with django_assert_num_queries(2):
        alice.post(PATH, BODY | {"user_uuid": str(alice.caller.user.uuid)})
