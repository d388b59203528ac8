"""`GET /v1/platform/activity/`: order, pages, links and filters."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from pytest_django import DjangoAssertNumQueries

from activity.models import ActivityRecord
from tests.activity.records import AT, BODY, BOTH_PATHS, KEYS, PATH, actions, links, make_record
from tests.api import ApiClient
from tests.factories import make_command, make_organization, make_user

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("path", BOTH_PATHS)
def test_the_listing_is_a_bare_array_newest_first(alice: ApiClient, path: str) -> None:
    for action in ("first", "second", "third"):
        alice.post(PATH, BODY | {"action": action})

    response = alice.get(path)

    assert response.status_code == 200
    assert actions(response) == ["third", "second", "first"]
    assert all(list(record) == KEYS for record in response.json())


def test_records_of_the_same_instant_are_listed_newest_first(alice: ApiClient) -> None:
    for action in ("first", "second", "third"):
        make_record(alice.caller, action=action, created_at=AT)

    assert actions(alice.get(PATH)) == ["third", "second", "first"]


def test_an_empty_listing_is_an_empty_array(alice: ApiClient) -> None:
    response = alice.get(PATH)

    assert (response.status_code, response.content) == (200, b"[]")
    assert response["X-Total-Count"] == "0"
    assert "Link" not in response


def test_the_listing_covers_all_users_of_the_command_and_no_other_command(alice: ApiClient) -> None:
    make_record(alice.caller, action="mine")
    make_record(alice.caller, action="a colleague's", user=make_user(alice.caller.organization))
    make_record(alice.caller, action="nobody's", user=None)
    make_record(alice.caller, action="another command's", command=make_command(alice.caller.organization))
    make_record(alice.caller, action="another organization's", organization=make_organization())

    assert actions(alice.get(PATH)) == ["nobody's", "a colleague's", "mine"]


def test_a_page_has_at_most_250_records_which_is_also_the_default(alice: ApiClient) -> None:
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


def test_limit_and_offset_select_a_page(alice: ApiClient) -> None:
    for number in range(5):
        make_record(alice.caller, action=str(number))

    response = alice.get(f"{PATH}?limit=2&offset=1")

    assert actions(response) == ["3", "2"]
    assert response["X-Total-Count"] == "5"


def test_links_lead_through_all_pages_and_keep_the_filters(alice: ApiClient) -> None:
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


def test_a_page_beyond_the_end_is_empty_and_links_back(alice: ApiClient) -> None:
    make_record(alice.caller)

    response = alice.get(f"{PATH}?limit=2&offset=10")

    assert response.json() == []
    assert response["X-Total-Count"] == "1"
    assert set(links(response)) == {"prev"}


def test_a_query_cannot_inject_another_link(alice: ApiClient) -> None:
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
def test_filters_narrow_the_listing_and_its_count(alice: ApiClient, query: str, expected: list[str]) -> None:
    make_record(alice.caller, action="morning", created_at=AT - timedelta(hours=6))
    make_record(alice.caller, action="noon", created_at=AT)
    make_record(alice.caller, action="evening", category="forms", created_at=AT + timedelta(hours=6))

    response = alice.get(f"{PATH}?{query}")

    assert response.status_code == 200
    assert actions(response) == expected
    assert response["X-Total-Count"] == str(len(expected))


def test_the_listing_can_be_filtered_by_user(alice: ApiClient, mallory: ApiClient) -> None:
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
def test_an_invalid_parameter_is_refused_by_name(alice: ApiClient, query: str, field: str) -> None:
    response = alice.get(f"{PATH}?{query}")

    assert response.status_code == 400
    assert response.json()["code"] == "params_validation_error"
    assert list(response.json()["errors"]) == [field]


def test_a_long_listing_needs_no_more_queries_than_a_short_one(
    alice: ApiClient, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for _ in range(10):
        make_record(alice.caller, user=make_user(alice.caller.organization))
    alice.get(PATH)

    with django_assert_num_queries(2):
        assert len(alice.get(PATH).json()) == 10
