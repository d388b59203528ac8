from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.db.models import QuerySet
from django.http import HttpRequest
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from rest_framework.serializers import Serializer, ValidationError

from commands_platform.lib.http import pagination
from commands_platform.lib.http.inputs import read_query
from commands_platform.lib.http.pagination import MAX_LIST_OFFSET, MAX_OFFSET, ListQuery, PageQuery, paginate
from organizations.models import User
from tests.factories import make_organization
from tests.lib.hostile import HOSTILE_QUERIES

pytestmark = pytest.mark.django_db


def make_rows(size: int) -> QuerySet[User]:
    """Creates users whose names are the numbers from 0, in the order of the list."""
    organization = make_organization()
    User.objects.bulk_create(User(organization=organization, full_name=f"{number:04}") for number in range(size))
    return User.objects.filter(organization=organization)


def request_to(query: str = "", path: str = "/v1/users/") -> HttpRequest:
    return RequestFactory().get(path, QUERY_STRING=query)


def page(rows: QuerySet[User], query: str = "", serializer: type[Serializer[Any]] = PageQuery) -> dict[str, Any]:
    request = request_to(query)
    values = read_query(serializer, request, ignore_unknown=True)
    return paginate(request, rows, values, render=lambda users: [int(user.full_name) for user in users])


def slice_bounds(request: HttpRequest) -> tuple[int, int]:
    query = read_query(PageQuery, request, ignore_unknown=True)
    return query["limit"], query["offset"]


def statements(rows: QuerySet[User], query: str = "") -> int:
    with CaptureQueriesContext(connection) as captured:
        page(rows, query)
    return len(captured)


def follow(rows: QuerySet[User], query: str, where: str = "next") -> list[int]:
    """Returns the rows of all pages."""
    seen: list[int] = []
    while query:
        found = page(rows, query)
        seen += found["results"]
        query = (found[where] or "?").partition("?")[2]
    return seen


def test_a_short_list_is_one_page() -> None:
    assert page(make_rows(2)) == {"count": 2, "next": None, "previous": None, "results": [0, 1]}


def test_an_empty_list_costs_one_statement() -> None:
    rows = make_rows(0)

    assert page(rows) == {"count": 0, "next": None, "previous": None, "results": []}
    assert statements(rows) == 1


def test_a_page_costs_two_statements() -> None:
    assert statements(make_rows(100), "limit=10&offset=20") == 2


@pytest.mark.parametrize("offset", ["3", "4", "2147483648", "9" * 400])
def test_a_page_beyond_the_end_needs_no_second_statement(offset: str) -> None:
    rows = make_rows(3)

    found = page(rows, f"offset={offset}")

    assert found["results"] == []
    assert found["next"] is None
    assert statements(rows, f"offset={offset}") == 1


@pytest.mark.parametrize(
    ("query", "following", "preceding"),
    [
        ("", "?limit=250&offset=250", None),
        ("limit=400", "?limit=250&offset=250", None),
        ("limit=10", "?limit=10&offset=10", None),
        ("limit=10&offset=5", "?limit=10&offset=15", "?limit=10"),
        ("limit=10&offset=10", "?limit=10&offset=20", "?limit=10"),
        ("limit=10&offset=30", "?limit=10&offset=40", "?limit=10&offset=20"),
        ("offset=500", None, "?offset=250&limit=250"),
        ("role=admin&limit=10&tag=a%26b&tag=c", "?role=admin&limit=10&tag=a%26b&tag=c&offset=10", None),
        ("name=%C3%A9&limit=10", "?name=%C3%A9&limit=10&offset=10", None),
    ],
)
def test_neighbouring_pages_are_absolute_urls_that_keep_the_other_parameters(
    query: str, following: str | None, preceding: str | None
) -> None:
    found = page(make_rows(600), query)

    base = "http://testserver/v1/users/"
    assert found["next"] == (following and base + following)
    assert found["previous"] == (preceding and base + preceding)


def test_following_the_pages_returns_every_row_once() -> None:
    assert follow(make_rows(23), "limit=5") == list(range(23))


def test_a_list_that_is_too_long_to_count_has_no_count(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = make_rows(8)
    monkeypatch.setattr(pagination, "MAX_COUNT", 5)

    assert page(rows, "limit=2") | {"next": ""} == {"count": None, "next": "", "previous": None, "results": [0, 1]}
    assert follow(rows, "limit=3") == list(range(8))
    assert page(rows, "limit=2&offset=20")["results"] == []


def test_pages_far_from_the_beginning_continue_from_a_cursor(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = make_rows(12)
    monkeypatch.setattr(pagination, "MAX_LIST_OFFSET", 4)

    assert "cursor=" in page(rows, "limit=2&offset=4")["next"]
    assert follow(rows, "limit=2") == list(range(12))


def test_a_list_of_ours_refuses_a_large_offset() -> None:
    rows = make_rows(1)

    assert page(rows, f"offset={MAX_LIST_OFFSET}", ListQuery)["results"] == []
    for offset in (MAX_LIST_OFFSET + 1, "9" * 5000):
        with pytest.raises(ValidationError) as caught:
            page(rows, f"offset={offset}", ListQuery)
        assert caught.value.detail == {"offset": [f"It can be {MAX_LIST_OFFSET} at most. To read more, use `cursor`."]}


@pytest.mark.parametrize(
    ("query", "bounds"),
    [
        ("", (250, 0)),
        ("limit=1&offset=2", (1, 2)),
        ("limit=250", (250, 0)),
        ("limit=251", (250, 0)),
        ("limit=0", (250, 0)),
        ("limit=000", (250, 0)),
        ("limit=007", (7, 0)),
        ("limit=" + "9" * 5000, (250, 0)),
        ("limit=" + "0" * 5000 + "8", (8, 0)),
        ("offset=9223372036854775808", (250, MAX_OFFSET)),
        ("offset=" + "9" * 5000, (250, MAX_OFFSET)),
    ],
)
def test_limit_and_offset_are_cut_to_their_maximum(query: str, bounds: tuple[int, int]) -> None:
    assert slice_bounds(request_to(query)) == bounds


@pytest.mark.parametrize("name", ["limit", "offset"])
@pytest.mark.parametrize(
    "text",
    ["", "-1", "%2B1", "+1", "1.0", "1e3", "1_000", "0x1", "abc", "%EF%BC%91", "%D9%A1", "%C2%B2", "1%0A", "null"],
)
def test_a_limit_or_offset_that_is_not_a_number_is_refused_by_name(name: str, text: str) -> None:
    with pytest.raises(ValidationError) as caught:
        slice_bounds(request_to(f"{name}={text}"))

    assert caught.value.detail == {name: ["A valid non-negative integer is required."]}


@pytest.mark.parametrize("query", [query for query in HOSTILE_QUERIES if query.count("&") < 100])
def test_limit_and_offset_stay_in_range_for_hostile_queries(query: str) -> None:
    try:
        limit, offset = slice_bounds(request_to(query))
    except ValidationError:
        return

    assert 1 <= limit <= 250
    assert 0 <= offset <= MAX_OFFSET
