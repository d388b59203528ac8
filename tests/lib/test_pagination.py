from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest
from django.http import HttpRequest
from django.test import RequestFactory
from rest_framework.serializers import ValidationError

from commands_platform.lib.http.inputs import read_query
from commands_platform.lib.http.pagination import MAX_OFFSET, PageQuery, paginate
from tests.lib.hostile import HOSTILE_QUERIES

if TYPE_CHECKING:
    from django.contrib.contenttypes.models import ContentType
    from django.db.models import QuerySet


class Rows:
    """Numbers with the interface of a queryset. It records the statements that a database would get."""

    def __init__(self, size: int, *, ordered: bool = True) -> None:
        self.numbers = list(range(size))
        self.ordered = ordered
        self.statements: list[str] = []

    def count(self) -> int:
        self.statements.append("count")
        return len(self.numbers)

    def order_by(self, field: str) -> Rows:
        self.statements.append(f"order by {field}")
        return self

    def __getitem__(self, bounds: slice) -> list[int]:
        self.statements.append(f"{bounds.start}:{bounds.stop}")
        return self.numbers[bounds]


def request_to(query: str = "", path: str = "/v1/users/") -> HttpRequest:
    return RequestFactory().get(path, QUERY_STRING=query)


def page(rows: Rows, query: str = "") -> dict[str, Any]:
    queryset = cast("QuerySet[ContentType]", rows)
    request = request_to(query)
    bounds = read_query(PageQuery, request, ignore_unknown=True)
    return paginate(request, queryset, bounds, render=lambda numbers: [{"number": number} for number in numbers])


def slice_bounds(request: HttpRequest) -> tuple[int, int]:
    query = read_query(PageQuery, request, ignore_unknown=True)
    return query["limit"], query["offset"]


def test_a_short_list_is_one_page() -> None:
    assert page(Rows(2)) == {
        "count": 2,
        "next": None,
        "previous": None,
        "results": [{"number": 0}, {"number": 1}],
    }


def test_an_empty_list_costs_one_statement() -> None:
    rows = Rows(0)

    assert page(rows) == {"count": 0, "next": None, "previous": None, "results": []}
    assert rows.statements == ["count"]


def test_a_page_costs_two_statements() -> None:
    rows = Rows(1000)

    page(rows, "limit=10&offset=20")

    assert rows.statements == ["count", "20:30"]


@pytest.mark.parametrize("offset", ["3", "4", "2147483648", "9" * 400])
def test_a_page_beyond_the_end_needs_no_second_statement(offset: str) -> None:
    rows = Rows(3)

    found = page(rows, f"offset={offset}")

    assert found["results"] == []
    assert found["next"] is None
    assert rows.statements == ["count"]


def test_unordered_rows_are_ordered_by_primary_key() -> None:
    rows = Rows(1, ordered=False)

    page(rows)

    assert rows.statements == ["count", "order by pk", "0:250"]


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
    found = page(Rows(600), query)

    base = "http://testserver/v1/users/"
    assert found["next"] == (following and base + following)
    assert found["previous"] == (preceding and base + preceding)


def test_following_the_pages_returns_every_row_once() -> None:
    rows, query, seen = Rows(23), "limit=5", []

    while query:
        found = page(rows, query)
        seen += [row["number"] for row in found["results"]]
        query = (found["next"] or "?").partition("?")[2]

    assert seen == list(range(23))


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
