"""Lists that are read from cursors while rows are inserted, deleted and changed."""

from __future__ import annotations

import base64
import json
import random
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from django.http import HttpRequest
from django.test import RequestFactory
from rest_framework import serializers

from commands_platform.lib import clock
from commands_platform.lib.errors import UnknownParameterError
from commands_platform.lib.http.cursors import SortField
from commands_platform.lib.http.inputs import read_query
from commands_platform.lib.http.pagination import ListQuery, paginate
from organizations.models import Command
from scheduling.models import ScheduledExecution
from tests.factories import make_command, make_schedule
from tests.lib.hostile import HOSTILE_QUERIES

pytestmark = pytest.mark.django_db

SORTS = ["", "name", "-name", "ends", "-ends", "name,-ends", "-ends,name", "active", "-active", "name,-id"]


class Query(ListQuery):
    sort = SortField(name="name", ends="ends_at", id="id", active=("-is_active", "ends_at"))


@pytest.fixture
def command() -> Command:
    return make_command()


def make_rows(command: Command, size: int, chance: random.Random) -> None:
    """Creates schedules with few different names and ends, and some without an end."""
    now = clock.now()
    for _ in range(size):
        make_schedule(
            command,
            name=chance.choice("abé"),
            ends_at=chance.choice([None, now + timedelta(days=400), now + timedelta(days=500)]),
            is_active=chance.random() < 0.7,
        )


def page(command: Command, query: str) -> dict[str, Any]:
    request: HttpRequest = RequestFactory().get("/v1/things/", QUERY_STRING=query)
    rows = ScheduledExecution.objects.filter(command=command)
    return paginate(request, rows, read_query(Query, request), render=lambda found: [row.pk for row in found])


def query_of(url: str | None) -> str:
    return (url or "?").partition("?")[2]


def walk(command: Command, query: str, where: str = "next") -> list[int]:
    seen: list[int] = []
    while query:
        found = page(command, query)
        seen += found["results"] if where == "next" else found["results"][::-1]
        query = query_of(found[where])
    return seen


@pytest.mark.parametrize("sort", SORTS)
def test_the_pages_from_a_cursor_are_those_of_the_whole_list(command: Command, sort: str) -> None:
    make_rows(command, 25, random.Random(sort))

    whole = page(command, f"sort={sort}")["results"]

    assert sorted(whole) == sorted(ScheduledExecution.objects.filter(command=command).values_list("pk", flat=True))
    assert walk(command, f"sort={sort}&limit=3&cursor=") == whole


@pytest.mark.parametrize("sort", SORTS)
def test_a_list_can_be_read_backwards(command: Command, sort: str) -> None:
    make_rows(command, 11, random.Random(sort))
    whole = walk(command, f"sort={sort}&limit=4&cursor=")
    last = page(
        command, query_of(page(command, query_of(page(command, f"sort={sort}&limit=4&cursor=")["next"]))["next"])
    )

    back = walk(command, query_of(last["previous"]), "previous")

    assert last["next"] is None
    assert back == whole[:8][::-1]


def test_the_first_page_has_no_previous_one_and_the_last_no_next_one(command: Command) -> None:
    make_rows(command, 4, random.Random(0))

    first = page(command, "limit=2&cursor=")
    last = page(command, query_of(first["next"]))
    back = page(command, query_of(last["previous"]))

    assert (first["previous"], last["next"]) == (None, None)
    assert back["results"] == first["results"]
    assert back["previous"] is None
    assert page(command, query_of(back["next"]))["results"] == last["results"]


@pytest.mark.parametrize("sort", SORTS)
def test_no_row_is_skipped_or_repeated_while_others_come_and_go(command: Command, sort: str) -> None:
    chance = random.Random(sort)
    make_rows(command, 30, chance)
    stay = set(ScheduledExecution.objects.filter(command=command).values_list("pk", flat=True)[:15])
    seen: list[int] = []
    query = f"sort={sort}&limit=4&cursor="

    while query:
        found = page(command, query)
        seen += found["results"]
        query = query_of(found["next"])
        make_rows(command, 2, chance)
        # The row that the cursor was made from is deleted too.
        gone = {seen[-1], *chance.sample(found["results"], 1)} - stay
        ScheduledExecution.objects.filter(pk__in=gone).delete()

    assert len(seen) == len(set(seen))
    assert stay <= set(seen)


def test_a_page_from_a_cursor_has_no_count_and_costs_one_statement(
    command: Command, django_assert_num_queries: Any
) -> None:
    make_rows(command, 5, random.Random(0))

    with django_assert_num_queries(1):
        found = page(command, "limit=2&cursor=")

    assert list(found) == ["next", "previous", "results"]
    with django_assert_num_queries(1):
        page(command, query_of(found["next"]))


def test_the_next_page_keeps_the_other_parameters(command: Command) -> None:
    make_rows(command, 3, random.Random(0))

    following = query_of(page(command, "limit=1&sort=-name&cursor=")["next"])

    assert following.startswith("limit=1&sort=-name&cursor=")


def encoded(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


@pytest.mark.parametrize(
    "cursor",
    [
        "x", "é", "AAAA", "a" * 5000,
        encoded(None), encoded(5), encoded([]), encoded({"a": 1, "b": 2, "c": 3}), encoded([">", "-id", 5]),
        encoded([">", "-id", []]), encoded([">", "-id", [None]]), encoded([">", "-id", ["x"]]),
        encoded([">", "-id", [[1]]]), encoded([">", "-id", [1, 2]]), encoded(["=", "-id", [1]]),
        encoded([">", "name,pk", ["a", 1]]), encoded([">", "-id", [10**30]]), encoded([[">"], "-id", [1]]),
    ],
)  # fmt: skip
def test_a_text_that_is_no_cursor_is_refused(command: Command, cursor: str) -> None:
    with pytest.raises(serializers.ValidationError) as caught:
        page(command, f"cursor={cursor}")

    assert isinstance(caught.value.detail, dict)
    assert list(caught.value.detail) == ["cursor"]


@pytest.mark.parametrize("value", ["2026-02-25T12:00:00", "yesterday", "2026-13-01T00:00:00Z", 5, True, "\0"])
def test_a_cursor_with_an_impossible_instant_is_refused(command: Command, value: object) -> None:
    with pytest.raises(serializers.ValidationError):
        page(command, f"sort=ends&cursor={encoded(['>', 'ends_at,pk', [value, 1]])}")


def test_a_cursor_of_another_order_is_refused(command: Command) -> None:
    make_rows(command, 3, random.Random(0))
    following = query_of(page(command, "limit=1&sort=name&cursor=")["next"])

    with pytest.raises(serializers.ValidationError, match="not a cursor of this list in this order"):
        page(command, following.replace("sort=name", "sort=-name"))


def test_a_cursor_and_an_offset_exclude_each_other(command: Command) -> None:
    with pytest.raises(serializers.ValidationError, match="Give either a cursor or an offset"):
        page(command, "cursor=&offset=1")


@pytest.mark.parametrize("query", [query for query in HOSTILE_QUERIES if query.count("&") < 100])
def test_a_hostile_sort_or_cursor_is_refused_or_ignored(command: Command, query: str) -> None:
    for name in ("sort=", "cursor="):
        with suppress(serializers.ValidationError, UnknownParameterError):
            page(command, f"{name}{query}")


@pytest.mark.parametrize("sort", ["nam", "-", "name,,ends", "name,password", "command__signing_secret"])
def test_an_unknown_sort_is_refused_with_the_known_ones(command: Command, sort: str) -> None:
    with pytest.raises(serializers.ValidationError, match="Choose from: name, ends, id, active"):
        page(command, f"sort={sort}")
