"""Recurrence against an oracle that walks the clock, in every zone of the database.

The oracle knows expressions as sets of values and never parses one; the strategy makes text and sets side by side.
"""

from __future__ import annotations

import struct
import zoneinfo
from bisect import bisect_right
from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib import resources
from itertools import islice, pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from commands_platform.lib.zones import use_packaged_zones
from scheduling.cron import CronExpression
from scheduling.errors import InvalidCronError
from scheduling.recurrence import Missed, Recurrence, missed, next_slot, parse_cron, slots

use_packaged_zones()

ZONES = sorted(zoneinfo.available_timezones() - {"Factory", "localtime"})
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
RULES: list[dict[str, Any]] = [
    {},
    {"dst_gap": "skip"},
    {"dst_overlap": "both"},
    {"dst_gap": "skip", "dst_overlap": "both"},
]


@dataclass(frozen=True)
class Field:
    text: str
    values: frozenset[int]

    @property
    def has_star(self) -> bool:
        return self.text[0] == "*"


@dataclass(frozen=True)
class Expression:
    second: Field | None
    minute: Field
    hour: Field
    month_day: Field
    month: Field
    weekday: Field
    last_day: bool
    nth: tuple[int, int] | None

    @property
    def text(self) -> str:
        fields = [self.minute, self.hour, self.month_day, self.month, self.weekday]
        return " ".join(field.text for field in ([self.second] if self.second else []) + fields)

    @property
    def follows_real_time(self) -> bool:
        return self.minute.has_star or self.hour.has_star or (self.second is not None and self.second.has_star)

    def matches_day(self, wall: datetime) -> bool:
        weekday = wall.isoweekday() % 7
        is_last = wall.day == monthrange(wall.year, wall.month)[1]
        by_month_day = wall.day in self.month_day.values or (self.last_day and is_last)
        by_weekday = weekday in self.weekday.values or self.nth == (weekday, (wall.day - 1) // 7 + 1)
        both = self.month_day.has_star or self.weekday.has_star
        return wall.month in self.month.values and (
            (by_month_day and by_weekday) if both else (by_month_day or by_weekday)
        )

    def matches(self, wall: datetime) -> bool:
        return (
            wall.hour in self.hour.values
            and wall.minute in self.minute.values
            and (wall.second in self.second.values if self.second else wall.second == 0)
            and self.matches_day(wall)
        )


@st.composite
def fields(draw: st.DrawFn, low: int, high: int, names: tuple[str, ...] = ()) -> Field:
    shown = []
    values: set[int] = set()

    def spell(value: int) -> str:
        if names and value - low < len(names) and draw(st.booleans()):
            return names[value - low]
        return str(value)

    for _ in range(draw(st.integers(1, 3))):
        kind = draw(
            st.sampled_from(["star", "value", "value", "range", "range", "star step", "range step", "whole range"])
        )
        start = draw(st.integers(low, high))
        end = draw(st.integers(start, high))
        if kind == "value":
            shown.append(spell(start))
            values.add(start)
            continue
        if kind.startswith(("star", "whole")):
            start, end = low, high
        text = "*" if kind.startswith("star") else f"{spell(start)}-{end}"
        step = draw(st.integers(1, end - start + 1)) if kind.endswith("step") else 1
        shown.append(f"{text}/{step}" if kind.endswith("step") else text)
        values.update(range(start, end + 1, step))
    return Field(",".join(shown), frozenset(values))


@st.composite
def expressions(draw: st.DrawFn, *, seconds: bool = False) -> Expression:
    every_day = Field("*", frozenset(range(32)))
    month_day = draw(st.one_of(st.just(every_day), fields(1, 31)))
    month = draw(st.one_of(st.just(every_day), fields(1, 12, MONTHS)))
    weekday = draw(st.one_of(st.just(every_day), fields(0, 7, WEEKDAYS)))
    last_day = draw(st.integers(0, 5)) == 0
    if last_day:
        month_day = Field(month_day.text + ",L", month_day.values)
    nth = draw(st.tuples(st.integers(0, 6), st.integers(1, 5))) if draw(st.integers(0, 5)) == 0 else None
    if nth:
        weekday = Field(f"{weekday.text},{nth[0]}#{nth[1]}", weekday.values)
    return Expression(
        second=draw(fields(0, 59)) if seconds else None,
        minute=draw(fields(0, 59)),
        hour=draw(fields(0, 23)),
        month_day=month_day,
        month=month,
        weekday=Field(weekday.text, frozenset(value % 7 for value in weekday.values)),
        last_day=last_day,
        nth=nth,
    )


def parse_or_reject(expression: Expression) -> CronExpression:
    """The expression parsed; leaves out those that can never fire, which is all that may be wrong with them."""
    try:
        return parse_cron(expression.text, seconds=expression.second is not None)
    except InvalidCronError as refusal:
        if "would never fire" not in refusal.message:
            raise
        reject()


def walk(
    expression: Expression, zone: ZoneInfo, start: datetime, end: datetime, rules: dict[str, Any]
) -> list[datetime]:
    """Debian's rule spelled out: every step of real time has a wall time, every step of wall time is looked for."""
    step = timedelta(seconds=1) if expression.second else timedelta(minutes=1)
    steps = int((end - start) / step)
    instants = [start + n * step for n in range(steps)]
    walls = [instant.astimezone(zone).replace(tzinfo=None) for instant in instants]
    if expression.follows_real_time:
        return [instant for instant, wall in zip(instants, walls, strict=True) if expression.matches(wall)]
    passes: dict[datetime, list[datetime]] = {}
    for instant, wall in zip(instants, walls, strict=True):
        passes.setdefault(wall, []).append(instant)
    found = set()
    reached = 0
    for n in range(int((max(walls) - walls[0]) / step) + 1):
        wall = walls[0] + n * step
        if not expression.matches(wall):
            continue
        if wall in passes:
            found.update(passes[wall] if rules.get("dst_overlap") == "both" else passes[wall][:1])
        elif rules.get("dst_gap") != "skip":
            reached = next(at for at in range(reached, steps) if walls[at] > wall)
            found.add(instants[reached])
    return sorted(found)


@cache
def changes(zone_name: str, year: int) -> list[datetime]:
    """The clock changes of a year to the minute, sought by halving six-hour steps."""
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
@given(expressions(), st.sampled_from(ZONES), st.integers(1973, 2060), st.data())
def test_every_zone_agrees_with_a_walk_through_its_clock_changes(
    expression: Expression, zone_name: str, year: int, data: st.DataObject
) -> None:
    parse_or_reject(expression)
    change = data.draw(st.sampled_from(changes(zone_name, year) or [datetime(year, 7, 1, tzinfo=UTC)]))
    rules = data.draw(st.sampled_from(RULES))
    after, until = change - timedelta(hours=26), change + timedelta(hours=26)
    margin = timedelta(hours=2)
    expected = [
        slot
        for slot in walk(expression, ZoneInfo(zone_name), after - margin, until + margin, rules)
        if after < slot <= until
    ]
    job = Recurrence(zone_name, change, expression.text, **rules)

    assert list(slots(job, after=after, until=until)) == expected

    asked = after + timedelta(seconds=data.draw(st.integers(0, 52 * 3600)))
    following = expected[bisect_right(expected, asked) :]
    found = next_slot(job, after=asked)
    assert found == following[0] if following else (found is None or found > until)
    if expected:
        due = data.draw(st.sampled_from(expected))
        count = len(expected) - expected.index(due)
        earlier_last = expected[-2] if count > 1 else None
        assert missed(job, first=due, now=until) == Missed(expected[-1], count - 1, earlier_last)


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
    parse_or_reject(expression)
    middle = datetime.fromisoformat(change)
    after, until = middle - timedelta(minutes=65), middle + timedelta(minutes=65)
    expected = [
        slot
        for slot in walk(expression, ZoneInfo(zone_name), after, until + timedelta(seconds=1), rules)
        if middle - timedelta(minutes=3) < slot <= middle + timedelta(minutes=3)
    ]
    job = Recurrence(zone_name, middle, expression.text, cron_seconds=True, **rules)
    found = slots(job, after=middle - timedelta(minutes=3), until=middle + timedelta(minutes=3))
    assert list(found) == expected


@settings(max_examples=120, deadline=None)
@given(
    expressions(),
    st.sampled_from(ZONES),
    st.integers(-(2 * 10**9), 6 * 10**9),
    st.integers(0, 999_999),
    st.sampled_from(RULES),
)
def test_slots_only_go_forward_and_do_not_depend_on_where_they_are_asked_from(
    expression: Expression, zone_name: str, second: int, microsecond: int, rules: dict[str, Any]
) -> None:
    parse_or_reject(expression)
    start = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=second, microseconds=microsecond)
    job = Recurrence(zone_name, start, expression.text, **rules)
    found = list(islice(slots(job, after=start), 12))
    assert all(before < after for before, after in pairwise([start, *found]))
    for before, after in pairwise([start, *found]):
        assert next_slot(job, after=before + (after - before) / 2) == after
        assert next_slot(job, after=after - timedelta(microseconds=1)) == after
    if found:
        earlier_last = found[-2] if len(found) > 1 else None
        assert missed(job, first=found[0], now=found[-1]) == Missed(found[-1], len(found) - 1, earlier_last)


@settings(max_examples=80, deadline=None)
@given(expressions(), st.integers(0, 5 * 10**9))
def test_in_utc_slots_agree_with_cronsim(expression: Expression, second: int) -> None:
    # cronsim takes `1-1/1` for `1-31/1`, so it gets the plain spelling.
    plain = parse_or_reject(expression).text
    start = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=second)
    found = islice(slots(Recurrence("UTC", start, expression.text), after=start), 8)
    assert list(found) == list(islice(CronSim(plain, start), 8))


@settings(max_examples=40, deadline=None)
@given(
    st.timedeltas(timedelta(microseconds=1), timedelta(days=3650)),
    st.timedeltas(-timedelta(days=10), timedelta(days=20_000)),
    st.timedeltas(timedelta(0), timedelta(days=20_000)),
)
def test_a_periods_slots_keep_its_phase(period: timedelta, offset: timedelta, wait: timedelta) -> None:
    anchor = datetime(2026, 1, 1, tzinfo=UTC)
    job = Recurrence("UTC", anchor, period=period)
    due = next_slot(job, after=anchor + offset)
    assert due is not None
    assert due > anchor + offset
    assert due > anchor
    assert (due - anchor) % period == timedelta(0)
    assert due - period <= max(anchor, anchor + offset)
    found = missed(job, first=due, now=due + wait)
    assert found.latest == due + wait // period * period
    assert found.earlier_count == wait // period


def test_no_zone_changes_its_clocks_twice_within_six_days() -> None:
    """The search for clock changes relies on it."""
    for name in ZONES:
        instants, offsets = read_transitions(name)
        moved = [at for at, (old, new) in zip(instants, pairwise(offsets), strict=True) if old != new]
        assert all(after - before > 6 * 86_400 for before, after in pairwise(moved)), name


def read_transitions(name: str) -> tuple[list[int], list[int]]:
    """The instants and offsets of a compiled zone's 64-bit table (RFC 9636)."""
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


def test_the_walk_itself_knows_a_skipped_and_a_repeated_hour() -> None:
    """An oracle that finds nothing would agree with anything."""
    every = frozenset(range(60))
    expression = Expression(
        None, Field("30", frozenset({30})), Field("1,2", frozenset({1, 2})), Field("*", every), Field("*", every),
        Field("*", every), last_day=False, nth=None,
    )  # fmt: skip
    zone = ZoneInfo("America/New_York")
    spring = walk(expression, zone, datetime(2026, 3, 8, 5, tzinfo=UTC), datetime(2026, 3, 8, 9, tzinfo=UTC), {})
    autumn = walk(expression, zone, datetime(2026, 11, 1, 4, tzinfo=UTC), datetime(2026, 11, 1, 9, tzinfo=UTC), {})
    assert [slot.strftime("%H:%M") for slot in spring] == ["06:30", "07:00"]
    assert [slot.strftime("%H:%M") for slot in autumn] == ["05:30", "07:30"]
