"""Recurrence agrees with an oracle that walks the clock, in every zone of the database.

The oracle gets the meaning of an expression and never parses one.
"""

from __future__ import annotations

import struct
import zoneinfo
from bisect import bisect_right
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib import resources
from itertools import islice, pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import given, settings
from hypothesis import strategies as st

from commands_platform.lib.zones import use_packaged_zones
from scheduling.cron_grammar import join_expressions
from scheduling.recurrence import Missed, Recurrence, missed, next_slot, slots
from tests.scheduling.expressions import Expression, Field, expressions

use_packaged_zones()

ZONES = sorted(zoneinfo.available_timezones() - {"Factory", "localtime"})
RULES: list[dict[str, Any]] = [
    {},
    {"dst_gap": "skip"},
    {"dst_overlap": "both"},
    {"dst_gap": "skip", "dst_overlap": "both"},
]


def matches(expression: Expression, wall: datetime) -> bool:
    return (
        wall.hour in expression.hour.values
        and wall.minute in expression.minute.values
        and (wall.second in expression.second.values if expression.second else wall.second == 0)
        and expression.matches_day(wall.date())
    )


def walk(
    expression: Expression, zone: ZoneInfo, start: datetime, end: datetime, rules: dict[str, Any]
) -> list[datetime]:
    """Applies Debian's rule literally: visits every step of real time, and looks for every step of wall time."""
    step = timedelta(seconds=1) if expression.second else timedelta(minutes=1)
    steps = int((end - start) / step)
    instants = [start + n * step for n in range(steps)]
    walls = [instant.astimezone(zone).replace(tzinfo=None) for instant in instants]
    if expression.follows_real_time:
        return [instant for instant, wall in zip(instants, walls, strict=True) if matches(expression, wall)]
    passes: dict[datetime, list[datetime]] = {}
    for instant, wall in zip(instants, walls, strict=True):
        passes.setdefault(wall, []).append(instant)
    found = set()
    reached = 0
    for n in range(int((max(walls) - walls[0]) / step) + 1):
        wall = walls[0] + n * step
        if not matches(expression, wall):
            continue
        if wall in passes:
            found.update(passes[wall] if rules.get("dst_overlap") == "both" else passes[wall][:1])
        elif rules.get("dst_gap") != "skip":
            reached = next(at for at in range(reached, steps) if walls[at] > wall)
            found.add(instants[reached])
    return sorted(found)


@cache
def changes(zone_name: str, year: int) -> list[datetime]:
    """Returns the clock changes of a year to the minute, found by halving steps of six hours."""
    zone = ZoneInfo(zone_name)

    def offset(instant: datetime) -> timedelta | None:
        return instant.astimezone(zone).utcoffset()

    found = []
    start = datetime(year, 1, 1, tzinfo=UTC)
    for before, after in pairwise(start + n * timedelta(hours=6) for n in range(1470)):
        low, high = before, after
        if offset(low) == offset(high):
            continue
        while high - low > timedelta(minutes=1):
            middle = low + (high - low) // 2
            middle = middle.replace(second=0, microsecond=0)
            low, high = (middle, high) if offset(middle) == offset(low) else (low, middle)
        found.append(high)
    return found


@settings(max_examples=80, deadline=None)
@given(st.lists(expressions(), min_size=1, max_size=3), st.sampled_from(ZONES), st.integers(1973, 2060), st.data())
def test_every_zone_agrees_with_a_walk_through_its_clock_changes(
    several: list[Expression], zone_name: str, year: int, data: st.DataObject
) -> None:
    """Each expression follows its own rule, and a slot of two expressions occurs once."""
    for expression in several:
        expression.parse_or_reject()
    change = data.draw(st.sampled_from(changes(zone_name, year) or [datetime(year, 7, 1, tzinfo=UTC)]))
    rules = data.draw(st.sampled_from(RULES))
    after, until = change - timedelta(hours=26), change + timedelta(hours=26)
    margin = timedelta(hours=2)
    walked = [walk(each, ZoneInfo(zone_name), after - margin, until + margin, rules) for each in several]
    expected = sorted({slot for walk_of_one in walked for slot in walk_of_one if after < slot <= until})
    recurrence = Recurrence(zone_name, change, join_expressions([each.text for each in several]), **rules)

    assert list(slots(recurrence, after=after, until=until)) == expected

    asked = after + timedelta(seconds=data.draw(st.integers(0, 52 * 3600)))
    following = expected[bisect_right(expected, asked) :]
    found = next_slot(recurrence, after=asked)
    assert found == following[0] if following else (found is None or found > until)
    if expected:
        due = data.draw(st.sampled_from(expected))
        count = len(expected) - expected.index(due)
        earlier_last = expected[-2] if count > 1 else None
        assert missed(recurrence, first=due, now=until) == Missed(expected[-1], count - 1, earlier_last)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(expressions(hourly_at_most=True), min_size=2, max_size=4),
    st.sampled_from(["America/New_York", "Australia/Lord_Howe", "Africa/Casablanca"]),
    st.sampled_from(RULES),
)
def test_missed_slots_of_several_expressions_are_those_of_each_once(
    several: list[Expression], zone_name: str, rules: dict[str, Any]
) -> None:
    for expression in several:
        expression.parse_or_reject()
    start, until = datetime(2025, 9, 20, tzinfo=UTC), datetime(2026, 5, 10, 12, tzinfo=UTC)
    recurrences = [Recurrence(zone_name, start, each.text, **rules) for each in several]
    expected = sorted({slot for recurrence in recurrences for slot in slots(recurrence, after=start, until=until)})
    recurrence = Recurrence(zone_name, start, join_expressions([each.text for each in several]), **rules)
    assert list(slots(recurrence, after=start, until=until)) == expected
    if expected:
        earlier_last = expected[-2] if len(expected) > 1 else None
        assert missed(recurrence, first=expected[0], now=until) == Missed(expected[-1], len(expected) - 1, earlier_last)


@pytest.mark.parametrize(
    ("zone_name", "change"),
    [
        ("America/New_York", "2026-03-08T07:00:00Z"),
        ("America/New_York", "2026-11-01T06:00:00Z"),
        ("Australia/Lord_Howe", "2026-04-04T15:00:00Z"),
        ("Africa/Monrovia", "1972-01-07T00:44:30Z"),
        ("Asia/Kolkata", "1905-12-31T18:38:50Z"),
        ("Europe/Paris", "1911-03-10T23:50:39Z"),
    ],
)
@settings(max_examples=8, deadline=None)
@given(expressions(seconds=True), st.sampled_from(RULES))
def test_expressions_with_seconds_agree_with_a_walk_second_by_second(
    zone_name: str, change: str, expression: Expression, rules: dict[str, Any]
) -> None:
    expression.parse_or_reject()
    middle = datetime.fromisoformat(change)
    after, until = middle - timedelta(minutes=65), middle + timedelta(minutes=65)
    expected = [
        slot
        for slot in walk(expression, ZoneInfo(zone_name), after, until + timedelta(seconds=1), rules)
        if middle - timedelta(minutes=3) < slot <= middle + timedelta(minutes=3)
    ]
    recurrence = Recurrence(zone_name, middle, expression.text, cron_seconds=True, **rules)
    found = slots(recurrence, after=middle - timedelta(minutes=3), until=middle + timedelta(minutes=3))
    assert list(found) == expected


@settings(max_examples=120, deadline=None)
@given(
    expressions(),
    st.sampled_from(ZONES),
    st.integers(-(2 * 10**9), 6 * 10**9),
    st.integers(0, 999_999),
    st.sampled_from(RULES),
)
def test_slots_only_go_forward_and_do_not_depend_on_the_start_of_the_search(
    expression: Expression, zone_name: str, second: int, microsecond: int, rules: dict[str, Any]
) -> None:
    expression.parse_or_reject()
    start = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=second, microseconds=microsecond)
    recurrence = Recurrence(zone_name, start, expression.text, **rules)
    found = list(islice(slots(recurrence, after=start), 12))
    assert all(before < after for before, after in pairwise([start, *found]))
    for before, after in pairwise([start, *found]):
        assert next_slot(recurrence, after=before + (after - before) / 2) == after
        assert next_slot(recurrence, after=after - timedelta(microseconds=1)) == after
    if found:
        earlier_last = found[-2] if len(found) > 1 else None
        assert missed(recurrence, first=found[0], now=found[-1]) == Missed(found[-1], len(found) - 1, earlier_last)


@settings(max_examples=80, deadline=None)
@given(expressions(as_in_cronsim=True), st.integers(0, 5 * 10**9))
def test_in_utc_slots_agree_with_cronsim(expression: Expression, second: int) -> None:
    expression.parse_or_reject()
    start = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=second)
    found = islice(slots(Recurrence("UTC", start, expression.text), after=start), 8)
    assert list(found) == list(islice(CronSim(expression.plain, start), 8))


@settings(max_examples=40, deadline=None)
@given(
    st.timedeltas(timedelta(microseconds=1), timedelta(days=3650)),
    st.timedeltas(-timedelta(days=10), timedelta(days=20_000)),
    st.timedeltas(timedelta(0), timedelta(days=20_000)),
)
def test_the_slots_of_a_period_keep_its_phase(period: timedelta, offset: timedelta, wait: timedelta) -> None:
    anchor = datetime(2026, 1, 1, tzinfo=UTC)
    recurrence = Recurrence("UTC", anchor, period=period)
    due = next_slot(recurrence, after=anchor + offset)
    assert due is not None
    assert due > anchor + offset
    assert due > anchor
    assert (due - anchor) % period == timedelta(0)
    assert due - period <= max(anchor, anchor + offset)
    found = missed(recurrence, first=due, now=due + wait)
    assert found.latest == due + wait // period * period
    assert found.earlier_count == wait // period


def test_no_zone_changes_its_clocks_twice_within_six_days() -> None:
    """The search for clock changes relies on this."""
    for name in ZONES:
        instants, offsets = read_transitions(name)
        moved = [at for at, (old, new) in zip(instants, pairwise(offsets), strict=True) if old != new]
        assert all(after - before > 6 * 86_400 for before, after in pairwise(moved)), name


def read_transitions(name: str) -> tuple[list[int], list[int]]:
    """Returns the instants and offsets in the 64-bit table of a compiled zone (RFC 9636)."""
    data = resources.files("tzdata.zoneinfo").joinpath(*name.split("/")).read_bytes()
    counts = struct.unpack(">6l", data[20:44])
    at = 44 + counts[3] * 5 + counts[4] * 6 + counts[5] + counts[2] * 8 + counts[1] + counts[0]
    counts = struct.unpack(">6l", data[at + 20 : at + 44])
    at += 44
    times, types = counts[3], counts[4]
    instants = list(struct.unpack(f">{times}q", data[at : at + 8 * times]))
    kinds = data[at + 8 * times : at + 9 * times]
    at += 9 * times
    offsets = [struct.unpack(">l", data[at + 6 * n : at + 6 * n + 4])[0] for n in range(types)]
    return instants, [offsets[0], *(offsets[kind] for kind in kinds)]


def test_the_oracle_itself_finds_a_skipped_and_a_repeated_hour() -> None:
    """An oracle that finds nothing would agree with anything."""
    every = Field("*", "*", frozenset(range(60)))
    half_past = Field("30", "30", frozenset({30}))
    expression = Expression(None, half_past, Field("1,2", "1,2", frozenset({1, 2})), every, every, every)
    zone = ZoneInfo("America/New_York")
    spring = walk(expression, zone, datetime(2026, 3, 8, 5, tzinfo=UTC), datetime(2026, 3, 8, 9, tzinfo=UTC), {})
    autumn = walk(expression, zone, datetime(2026, 11, 1, 4, tzinfo=UTC), datetime(2026, 11, 1, 9, tzinfo=UTC), {})
    assert [slot.strftime("%H:%M") for slot in spring] == ["06:30", "07:00"]
    assert [slot.strftime("%H:%M") for slot in autumn] == ["05:30", "07:30"]
