"""`/v1/platform/activity/`, over HTTP."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import orjson
import pytest
from django.http import HttpResponse
from pytest_django import DjangoAssertNumQueries

from activity.models import ActivityRecord
from commands_platform.lib import clock
from commands_platform.lib.instants import format_instant
from organizations.models import User
from tests.api import ApiClient, Caller, make_caller
from tests.factories import make_command, make_installation, make_organization, make_token, make_user
from tests.lib.hostile import HOSTILE_BODIES, HOSTILE_CONTENT_TYPES, HOSTILE_HEADER_VALUES, HOSTILE_QUERIES

pytestmark = pytest.mark.django_db

PATH = "/v1/platform/activity/"
BOTH_PATHS = [PATH, PATH.removesuffix("/")]
KEYS = ["command", "organization", "user", "category", "action", "label", "metadata", "created_at"]
BODY = {"category": "kudos", "action": "posted", "label": "To Grace", "metadata": {"points": 3, "tags": ["a"]}}
MISSING_TOKEN = {"detail": "You should specify a valid exchange token", "code": "missing_token"}
AT = datetime(2026, 2, 25, 12, tzinfo=UTC)


def make_record(caller: Caller, **values: Any) -> ActivityRecord:
    return ActivityRecord.objects.create(
        **{
            "organization": caller.organization,
            "command": caller.command,
            "user": caller.user,
            "category": "kudos",
            "action": "posted",
            **values,
        }
    )


def actions(response: HttpResponse) -> list[str]:
    return [record["action"] for record in orjson.loads(response.content)]


def links(response: HttpResponse) -> dict[str, str]:
    """The targets of the `Link` header by their relation."""
    header = response.get("Link", "")
    return {rel: url for url, rel in re.findall(r'<([^>]*)>; rel="([a-z]+)"', header)}


@pytest.mark.parametrize("path", BOTH_PATHS)
def test_a_record_is_answered_with_exactly_the_documented_keys(alice: ApiClient, path: str) -> None:
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
def test_label_is_null_and_metadata_empty_by_default(alice: ApiClient, given: dict[str, None]) -> None:
    answer = alice.post(PATH, {"category": "kudos", "action": "posted"} | given).json()

    assert (answer["label"], answer["metadata"]) == (None, {})


@pytest.mark.parametrize("label", [None, "", "two\nlines", "👩‍💻", "x" * 1000])
def test_a_label_is_any_string_or_null(alice: ApiClient, label: str | None) -> None:
    response = alice.post(PATH, BODY | {"label": label})

    assert response.status_code == 201
    assert response.json()["label"] == label
    assert alice.get(PATH).json()[0]["label"] == label


def test_fields_that_are_not_known_are_ignored(alice: ApiClient) -> None:
    answer = alice.post(PATH, BODY | {"created_at": "2020-01-01T00:00:00Z", "organization": str(uuid4())}).json()

    assert answer["organization"] == str(alice.caller.organization.uuid)
    assert not answer["created_at"].startswith("2020")


def test_metadata_come_back_as_they_were_given(alice: ApiClient) -> None:
    metadata = {"b": 1, "a": {"z": None, "y": [1.5, True, "é"]}, "": 2**63}

    alice.post(PATH, BODY | {"metadata": metadata})

    (record,) = alice.get(PATH).json()
    assert record["metadata"] == metadata
    assert list(record["metadata"]) == ["b", "a", ""]


def test_the_instant_is_the_databases_in_utc_and_the_same_in_both_answers(alice: ApiClient) -> None:
    before = clock.now()

    answer = alice.post(PATH, BODY).json()

    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z", answer["created_at"])
    assert before <= datetime.fromisoformat(answer["created_at"]) <= clock.now()
    assert alice.get(PATH).json() == [answer]


def test_an_instant_without_a_fraction_is_written_without_one(alice: ApiClient) -> None:
    make_record(alice.caller, created_at=AT)

    assert alice.get(PATH).json()[0]["created_at"] == "2026-02-25T12:00:00Z"


def test_a_record_can_be_of_another_user_of_the_organization(alice: ApiClient) -> None:
    colleague = make_user(alice.caller.organization)

    response = alice.post(PATH, BODY | {"user_uuid": str(colleague.uuid).upper()})

    assert response.status_code == 201
    assert response.json()["user"] == str(colleague.uuid)
    assert ActivityRecord.objects.get().user == colleague


def test_a_record_can_be_of_somebody_who_is_no_longer_active(alice: ApiClient) -> None:
    former = make_user(alice.caller.organization, is_active=False)

    assert alice.post(PATH, BODY | {"user_uuid": str(former.uuid)}).status_code == 201


@pytest.mark.parametrize("given", [{}, {"user_uuid": None}])
def test_a_token_without_a_user_makes_a_record_without_one(alice: ApiClient, given: dict[str, None]) -> None:
    token = make_token(alice.caller.command)

    response = alice.post(PATH, BODY | given, token=token)

    assert response.status_code == 201
    assert response.json()["user"] is None
    assert alice.get(PATH, token=token).json()[0]["user"] is None


def test_a_token_without_a_user_can_name_one(alice: ApiClient) -> None:
    answer = alice.post(
        PATH, BODY | {"user_uuid": str(alice.caller.user.uuid)}, token=make_token(alice.caller.command)
    ).json()

    assert answer["user"] == str(alice.caller.user.uuid)


def test_a_user_of_nowhere_or_of_another_organization_is_not_valid(alice: ApiClient, mallory: ApiClient) -> None:
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


def test_a_public_command_records_in_the_organization_of_its_user() -> None:
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
def test_what_is_not_valid_is_told_with_its_field(alice: ApiClient, body: object, field: str) -> None:
    response = alice.post(PATH, body)

    answer = response.json()
    assert response.status_code == 400
    assert list(answer) == ["detail", "code", "errors"]
    assert answer["code"] == "params_validation_error"
    assert list(answer["errors"]) == [field]
    assert answer["detail"] == answer["errors"][field][0]
    assert not ActivityRecord.objects.exists()


def test_every_field_that_is_wrong_is_told_and_the_first_speaks_for_all(alice: ApiClient) -> None:
    answer = alice.post(PATH, {"label": 1}).json()

    assert list(answer["errors"]) == ["category", "action", "label"]
    assert answer["detail"] == "This field is required."


def test_metadata_of_64_kib_are_taken(alice: ApiClient) -> None:
    metadata = {"text": "x" * (65_536 - len('{"text":""}'))}

    assert alice.post(PATH, BODY | {"metadata": metadata}).json()["metadata"] == metadata


@pytest.mark.parametrize("path", BOTH_PATHS)
def test_the_listing_is_a_bare_array_newest_first(alice: ApiClient, path: str) -> None:
    for action in ("first", "second", "third"):
        alice.post(PATH, BODY | {"action": action})

    response = alice.get(path)

    assert response.status_code == 200
    assert actions(response) == ["third", "second", "first"]
    assert all(list(record) == KEYS for record in response.json())


def test_records_of_one_instant_are_listed_latest_first(alice: ApiClient) -> None:
    for action in ("first", "second", "third"):
        make_record(alice.caller, action=action, created_at=AT)

    assert actions(alice.get(PATH)) == ["third", "second", "first"]


def test_an_empty_listing_is_an_empty_array(alice: ApiClient) -> None:
    response = alice.get(PATH)

    assert (response.status_code, response.content) == (200, b"[]")
    assert response["X-Total-Count"] == "0"
    assert "Link" not in response


def test_the_listing_holds_all_users_of_the_command_and_no_other_command(alice: ApiClient) -> None:
    make_record(alice.caller, action="mine")
    make_record(alice.caller, action="a colleague's", user=make_user(alice.caller.organization))
    make_record(alice.caller, action="nobody's", user=None)
    make_record(alice.caller, action="another command's", command=make_command(alice.caller.organization))
    make_record(alice.caller, action="another organization's", organization=make_organization())

    assert actions(alice.get(PATH)) == ["nobody's", "a colleague's", "mine"]


def test_a_page_has_250_records_at_the_most_and_by_default(alice: ApiClient) -> None:
    ActivityRecord.objects.bulk_create(
        ActivityRecord(
            organization=alice.caller.organization, command=alice.caller.command, category="a", action=str(number)
        )
        for number in range(251)
    )

    default, larger = alice.get(PATH), alice.get(f"{PATH}?limit=1000")

    assert actions(default) == actions(larger) == [str(number) for number in range(250, 0, -1)]
    assert default["X-Total-Count"] == "251"
    assert actions(alice.get(f"{PATH}?offset=250")) == ["0"]


def test_limit_and_offset_choose_a_page(alice: ApiClient) -> None:
    for number in range(5):
        make_record(alice.caller, action=str(number))

    response = alice.get(f"{PATH}?limit=2&offset=1")

    assert actions(response) == ["3", "2"]
    assert response["X-Total-Count"] == "5"


def test_links_lead_from_page_to_page_and_keep_the_filters(alice: ApiClient) -> None:
    for number in range(5):
        make_record(alice.caller, action=str(number), category="é & co")
    make_record(alice.caller, action="other", category="other")
    seen, path, responses = [], f"{PATH}?category=%C3%A9+%26+co&limit=2", []

    while path:
        responses.append(alice.get(path))
        seen += actions(responses[-1])
        url = urlsplit(links(responses[-1]).get("next", ""))
        path = f"{url.path}?{url.query}" if url.path else ""

    assert seen == ["4", "3", "2", "1", "0"]
    assert [set(links(response)) for response in responses] == [{"next"}, {"next", "prev"}, {"prev"}]
    assert all(response["X-Total-Count"] == "5" for response in responses)
    assert links(responses[1]) == {
        "next": "http://testserver/v1/platform/activity/?category=%C3%A9+%26+co&limit=2&offset=4",
        "prev": "http://testserver/v1/platform/activity/?category=%C3%A9+%26+co&limit=2",
    }


def test_a_page_behind_the_end_is_empty_and_leads_back(alice: ApiClient) -> None:
    make_record(alice.caller)

    response = alice.get(f"{PATH}?limit=2&offset=10")

    assert response.json() == []
    assert response["X-Total-Count"] == "1"
    assert set(links(response)) == {"prev"}


def test_a_link_cannot_be_broken_out_of(alice: ApiClient) -> None:
    make_record(alice.caller)
    make_record(alice.caller)

    response = alice.get(f'{PATH}?limit=1&x=%3E%3B+rel%3D"next"%2C<http://evil.example/>%0D%0AX: y')

    assert list(links(response)) == ["next"]
    assert response["Link"].count(">") == 1
    assert links(response)["next"].startswith("http://testserver/v1/platform/activity/?")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("category=kudos", ["noon", "morning"]),
        ("category=KUDOS", []),
        ("category=", ["evening", "noon", "morning"]),
        ("action=noon", ["noon"]),
        ("category=forms&action=evening", ["evening"]),
        ("category=forms&action=noon", []),
        ("since=2026-02-25T12:00:00Z", ["evening", "noon"]),
        ("since=2026-02-25T12:00:00.000001Z", ["evening"]),
        ("until=2026-02-25T12:00:00Z", ["morning"]),
        ("until=2026-02-25T12:00:00.000001Z", ["noon", "morning"]),
        ("since=2026-02-25T12:00:00Z&until=2026-02-25T18:00:00Z", ["noon"]),
        ("since=2026-02-25T13:00:00%2B01:00&until=2026-02-25T12:00:01-00:00", ["noon"]),
        ("since=2026-02-26T00:00:00Z&until=2026-02-25T00:00:00Z", []),
        ("unknown=1", ["evening", "noon", "morning"]),
    ],
)
def test_filters_narrow_the_listing_and_its_count_down(alice: ApiClient, query: str, expected: list[str]) -> None:
    make_record(alice.caller, action="morning", created_at=AT - timedelta(hours=6))
    make_record(alice.caller, action="noon", created_at=AT)
    make_record(alice.caller, action="evening", category="forms", created_at=AT + timedelta(hours=6))

    response = alice.get(f"{PATH}?{query}")

    assert response.status_code == 200
    assert actions(response) == expected
    assert response["X-Total-Count"] == str(len(expected))


def test_the_listing_can_be_narrowed_down_to_one_user(alice: ApiClient, mallory: ApiClient) -> None:
    colleague = make_user(alice.caller.organization)
    make_record(alice.caller, action="mine")
    make_record(alice.caller, action="a colleague's", user=colleague)
    make_record(mallory.caller)

    assert actions(alice.get(f"{PATH}?user_uuid={colleague.uuid}")) == ["a colleague's"]
    assert actions(alice.get(f"{PATH}?user_uuid={mallory.caller.user.uuid}")) == []
    assert actions(alice.get(f"{PATH}?user_uuid={uuid4()}")) == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=x", "limit"),
        ("limit=-1", "limit"),
        ("offset=-1", "offset"),
        ("user_uuid=me", "user_uuid"),
        ("since=yesterday", "since"),
        ("since=2026-02-25", "since"),
        ("since=2026-02-25T12:00:00", "since"),
        ("until=1771977600", "until"),
        ("category=" + "x" * 256, "category"),
        ("action=a%0Ab", "action"),
    ],
)
def test_a_parameter_that_is_not_valid_is_told(alice: ApiClient, query: str, field: str) -> None:
    response = alice.get(f"{PATH}?{query}")

    assert response.status_code == 400
    assert response.json()["code"] == "params_validation_error"
    assert list(response.json()["errors"]) == [field]


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_a_request_without_a_token_is_told_so(alice: ApiClient, method: str) -> None:
    response = alice.request(method, PATH, {"category": 1}, token=None)

    assert response.status_code == 400
    assert response.json() == MISSING_TOKEN


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_a_request_without_a_key_is_refused(alice: ApiClient, method: str) -> None:
    response = alice.request(method, PATH, BODY, key=None)

    assert response.status_code == 401
    assert response.json() == {"detail": "Authentication credentials were not provided.", "code": "not_authenticated"}
    assert "WWW-Authenticate" in response


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_a_key_without_the_scope_is_refused(alice: ApiClient, method: str) -> None:
    client = ApiClient(alice.caller.with_scopes("EVENT_SUBSCRIPTION", "STORAGE", "DIRECTORY"))

    response = client.request(method, PATH, BODY)

    assert response.status_code == 403
    assert response.json()["code"] == "insufficient_scope"
    assert not ActivityRecord.objects.exists()


def test_a_key_with_nothing_but_the_scope_is_enough(alice: ApiClient) -> None:
    client = ApiClient(alice.caller.with_scopes("ACTIVITY"))

    assert client.post(PATH, BODY).status_code == 201
    assert client.get(PATH).status_code == 200


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_a_strangers_key_makes_the_token_count_as_absent(alice: ApiClient, mallory: ApiClient, method: str) -> None:
    response = mallory.request(method, PATH, BODY, token=alice.caller.token)

    assert response.status_code == 400
    assert response.json() == MISSING_TOKEN


def test_a_stranger_sees_none_of_the_records(alice: ApiClient, mallory: ApiClient) -> None:
    alice.post(PATH, BODY)

    response = mallory.get(PATH)

    assert (response.json(), response["X-Total-Count"]) == ([], "0")
    assert mallory.get(f"{PATH}?user_uuid={alice.caller.user.uuid}").json() == []


def test_the_token_of_an_inactive_user_counts_as_absent(alice: ApiClient) -> None:
    User.objects.filter(pk=alice.caller.user.pk).update(is_active=False)

    assert alice.post(PATH, BODY).json() == MISSING_TOKEN


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_records_can_be_neither_changed_nor_removed(alice: ApiClient, method: str) -> None:
    alice.post(PATH, BODY)

    response = alice.request(method, PATH, BODY)

    assert response.status_code == 405
    assert response.json()["code"] == "method_not_allowed"
    assert ActivityRecord.objects.count() == 1


def test_a_record_costs_one_statement_besides_key_and_token(
    alice: ApiClient, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    alice.post(PATH, BODY)

    with django_assert_num_queries(2):
        alice.post(PATH, BODY | {"user_uuid": str(alice.caller.user.uuid)})


def test_the_listings_statements_do_not_grow_with_its_length(
    alice: ApiClient, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for _ in range(10):
        make_record(alice.caller, user=make_user(alice.caller.organization))
    alice.get(PATH)

    with django_assert_num_queries(3):
        assert len(alice.get(PATH).json()) == 10


@pytest.mark.parametrize("name", HOSTILE_BODIES)
def test_a_hostile_body_is_answered_in_json(alice: ApiClient, name: str) -> None:
    response = alice.post(PATH, raw=HOSTILE_BODIES[name])

    answer = orjson.loads(response.content)
    assert response.status_code < 500
    if response.status_code == 201:
        assert list(answer) == KEYS
    else:
        assert {"detail", "code"} <= set(answer) <= {"detail", "code", "errors"}


@pytest.mark.parametrize("query", HOSTILE_QUERIES, ids=range(len(HOSTILE_QUERIES)))
def test_a_hostile_query_is_answered_in_json(alice: ApiClient, query: str) -> None:
    make_record(alice.caller)
    make_record(alice.caller)

    response = alice.get(f"{PATH}?{query}")

    answer = orjson.loads(response.content)
    assert response.status_code in (200, 400)
    assert isinstance(answer, list) if response.status_code == 200 else {"detail", "code"} <= set(answer)


@pytest.mark.parametrize("value", HOSTILE_HEADER_VALUES, ids=range(len(HOSTILE_HEADER_VALUES)))
@pytest.mark.parametrize("header", ["X-API-KEY", "X-EXCHANGE-TOKEN"])
def test_a_hostile_header_is_answered_in_json(alice: ApiClient, header: str, value: str) -> None:
    response = alice.get(PATH, headers={header: value}, **{"key" if header == "X-API-KEY" else "token": None})

    assert response.status_code in (400, 401)
    assert {"detail", "code"} == set(orjson.loads(response.content))


@pytest.mark.parametrize("content_type", HOSTILE_CONTENT_TYPES)
def test_a_hostile_content_type_is_answered_in_json(alice: ApiClient, content_type: str) -> None:
    response = alice.post(PATH, BODY, headers={"Content-Type": content_type})

    assert response.status_code < 500
    assert isinstance(orjson.loads(response.content), dict)
