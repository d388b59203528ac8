"""The pure functions of `every`: which wall times match, in which zone, and at clock changes."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import islice, pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commands_platform.lib.zones import load_zone, use_packaged_zones
from scheduling.cron import UNIX_EPOCH_DAY
from scheduling.errors import InvalidEveryError
from scheduling.every import MAX_COUNTS, WEEKDAYS, load_every, read_every
from scheduling.recurrence import Missed, Recurrence, identity_of, missed, next_slot, slots
from scheduling.wall_periods import cycle_of

use_packaged_zones()

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = 86_400
RULES: list[dict[str, Any]] = [{}, {"dst_gap": "skip"}, {"dst_overlap": "both"}]
ZONES = ["UTC", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "Pacific/Apia", "Asia/Beirut"]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def every(
    zone: str = "UTC", *, start: datetime = START, rules: dict[str, str] | None = None, **given: Any
) -> Recurrence:
    return Recurrence(zone, start, every=read_every(given), **(rules or {}))  # type: ignore[arg-type]


def first(recurrence: Recurrence, count: int, after: datetime = START) -> list[str]:
    return [slot.isoformat()[:16] for slot in islice(slots(recurrence, after=after), count)]


@st.composite
def periods(draw: st.DrawFn) -> dict[str, Any]:
    unit = draw(st.sampled_from(["days", "weeks", "months"]))
    given: dict[str, Any] = {unit: draw(st.one_of(st.integers(1, 5), st.integers(1, MAX_COUNTS[unit])))}
    if unit == "weeks":
        given["on"] = draw(st.lists(st.sampled_from(WEEKDAYS), min_size=1, max_size=7, unique=True))
    elif unit == "months":
        given["on_day"] = draw(st.integers(1, 31))
    given["at"] = draw(st.sampled_from(["00:00", "01:30", "02:15", "02:30:30", "12:00", "23:59:59"]))
    return given


def matching_days(given: dict[str, Any], start: date, since: date, until: date) -> list[date]:
    """Looks at each day by itself."""
    found = []
    monday = start - timedelta(days=start.weekday())
    for day in (since + timedelta(days=n) for n in range((until - since).days)):
        if "days" in given:
            matches = (day - start).days % given["days"] == 0
        elif "weeks" in given:
            in_week = (day - monday).days // 7 % given["weeks"] == 0
            matches = in_week and WEEKDAYS[day.weekday()] in given["on"]
        else:
            months = (day.year - start.year) * 12 + day.month - start.month
            last = (day.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)
            matches = months % given["months"] == 0 and day.day == min(given["on_day"], last.day)
        if matches:
            found.append(day)
    return found


def wall_of(day: date) -> int:
    return (day.toordinal() - UNIX_EPOCH_DAY) * DAY


@settings(max_examples=150, deadline=None)
@given(periods(), st.dates(date(1971, 1, 1), date(2060, 1, 1)), st.integers(-900, 900), st.integers(0, DAY))
def test_matching_times_agree_with_a_search_day_by_day(
    given: dict[str, Any], start: date, offset: int, second: int
) -> None:
    text = read_every(given)
    cycle, at_second = cycle_of(text, start), load_every(text).second
    since = start + timedelta(days=offset)
    until = since + timedelta(days=1500)
    walls = [wall_of(day) + at_second for day in matching_days(given, start, since, until)]
    begin, end = wall_of(since) + second, wall_of(until)
    expected = [wall for wall in walls if wall >= begin]

    assert cycle.count_between(begin, end) == len(expected)
    following = cycle.first_from(begin)
    assert following == expected[0] if expected else following is None or following >= end
    last = cycle.last_before(end)
    assert last == walls[-1] if walls else last is None or last < wall_of(since)


@settings(max_examples=150, deadline=None)
@given(periods(), st.sampled_from(ZONES), st.sampled_from(RULES), st.integers(0, 2 * 10**9))
def test_slots_go_forward_and_are_counted_as_they_are_listed(
    given: dict[str, Any], zone: str, rules: dict[str, str], second: int
) -> None:
    start = datetime(1970, 1, 2, tzinfo=UTC) + timedelta(seconds=second)
    recurrence = every(zone, start=start, rules=rules, **given)
    found = list(islice(slots(recurrence, after=start), 10))

    for before, after in pairwise([start, *found]):
        assert before < after
        assert next_slot(recurrence, after=before + (after - before) / 2) == after
        assert next_slot(recurrence, after=after - timedelta(microseconds=1)) == after
    earlier_last = found[-2] if len(found) > 1 else None
    assert missed(recurrence, first=found[0], now=found[-1]) == Missed(found[-1], len(found) - 1, earlier_last)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 23), st.integers(0, 59), st.sampled_from(ZONES), st.sampled_from(RULES), st.integers(0, 2 * 10**9)
)
def test_a_daily_time_has_the_slots_of_the_same_cron_expression(
    hour: int, minute: int, zone: str, rules: dict[str, str], second: int
) -> None:
    start = datetime(1972, 1, 1, tzinfo=UTC) + timedelta(seconds=second)
    cron = Recurrence(zone, start, f"{minute} {hour} * * *", **rules)  # type: ignore[arg-type]
    daily = every(zone, start=start, rules=rules, days=1, at=f"{hour:02}:{minute:02}")
    weekly = every(zone, start=start, rules=rules, weeks=1, on=list(WEEKDAYS), at=f"{hour:02}:{minute:02}")
    expected = list(islice(slots(cron, after=start), 300))
    assert list(islice(slots(daily, after=start), 300)) == expected
    assert list(islice(slots(weekly, after=start), 300)) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"days": 14, "at": "09:00"}, ["2026-01-01T09:00", "2026-01-15T09:00", "2026-01-29T09:00"]),
        ({"weeks": 2, "on": ["MON", "FRI"], "at": "09:00"}, ["2026-01-02T09:00", "2026-01-12T09:00"]),
        ({"weeks": 2, "on": ["MON"], "at": "09:00"}, ["2026-01-12T09:00", "2026-01-26T09:00"]),
        ({"months": 1, "on_day": 31, "at": "18:00"}, ["2026-01-31T18:00", "2026-02-28T18:00", "2026-03-31T18:00"]),
        ({"months": 12, "on_day": 29, "at": "00:00"}, ["2026-01-29T00:00", "2027-01-29T00:00"]),
    ],
)
def test_periods_are_counted_from_the_start(given: dict[str, Any], expected: list[str]) -> None:
    assert first(every(**given), len(expected)) == expected


def test_days_are_counted_from_the_local_date_of_the_start() -> None:
    start = at("2026-01-01T20:00Z")
    assert first(every("UTC", start=start, days=2, at="21:00"), 1, start) == ["2026-01-01T21:00"]
    # In Tokyo it is 2 January already.
    assert first(every("Asia/Tokyo", start=start, days=2, at="21:00"), 1, start) == ["2026-01-02T12:00"]


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ({}, ["2026-03-08T07:00", "2026-03-09T06:30"]),
        ({"dst_gap": "skip"}, ["2026-03-09T06:30", "2026-03-10T06:30"]),
    ],
)
def test_a_skipped_time_runs_after_the_gap_or_not_at_all(rules: dict[str, str], expected: list[str]) -> None:
    daily = every("America/New_York", rules=rules, days=1, at="02:30")
    assert first(daily, 2, at("2026-03-07T12:00Z")) == expected


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ({}, ["2026-11-01T05:30", "2026-11-02T06:30"]),
        ({"dst_overlap": "both"}, ["2026-11-01T05:30", "2026-11-01T06:30"]),
    ],
)
def test_a_repeated_time_runs_once_or_at_both_passes(rules: dict[str, str], expected: list[str]) -> None:
    daily = every("America/New_York", rules=rules, days=1, at="01:30")
    assert first(daily, 2, at("2026-10-31T12:00Z")) == expected


def test_a_time_with_seconds_runs_at_the_exact_end_of_a_gap() -> None:
    # Monrovia's clocks went from 00:00 to 00:44:30.
    before = at("1972-01-06T02:00:00Z")
    found = next_slot(every("Africa/Monrovia", start=before, days=1, at="00:10:20"), after=before)
    assert found == at("1972-01-07T00:44:30Z")
    found = next_slot(every("Africa/Monrovia", start=before, days=1, at="00:10"), after=before)
    assert found == at("1972-01-07T00:45:00Z")


@pytest.mark.parametrize(
    ("given", "other"),
    [
        ({"days": 14, "at": "09:00"}, {"days": 14, "at": "09:00:00"}),
        ({"weeks": 1, "on": ["MON", "TUE"], "at": "09:00"}, {"weeks": 1, "on": ["TUE", "MON"], "at": "09:00"}),
        ({"weeks": 2, "on": ["THU"], "at": "09:00"}, {"days": 14, "at": "09:00"}),
    ],
)
def test_periods_with_the_same_slots_are_equal(given: dict[str, Any], other: dict[str, Any]) -> None:
    assert identity_of(every(**given)) == identity_of(every(**other))
    assert identity_of(every(**given)) != identity_of(
        every(start=START + timedelta(days=1), **{**given, "at": "10:00"})
    )


def test_the_end_of_the_calendar_ends_the_slots() -> None:
    rules: list[dict[str, Any]] = [{"days": 3653, "at": "00:00"}, {"months": 120, "on_day": 1, "at": "00:00"}]
    for given_rule in rules:
        recurrence = every(start=at("9999-12-30T00:00Z"), **given_rule)
        assert next_slot(recurrence, after=at("9999-12-30T00:00Z")) is None
        assert next_slot(recurrence, after=at("9900-01-01T00:00Z")) is not None


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (300, "A period in seconds is execution_frequency instead."),
        ({}, "exactly one of days, weeks and months"),
        ({"days": 1, "weeks": 1, "at": "09:00"}, "exactly one of days, weeks and months"),
        ({"days": 0, "at": "09:00"}, "days must be an integer from 1 to 3653."),
        ({"days": True, "at": "09:00"}, "days must be an integer from 1 to 3653."),
        ({"days": 1.0, "at": "09:00"}, "days must be an integer from 1 to 3653."),
        ({"days": 3654, "at": "09:00"}, "days must be an integer from 1 to 3653."),
        ({"weeks": 522, "on": ["MON"], "at": "09:00"}, "weeks must be an integer from 1 to 521."),
        ({"months": 121, "on_day": 1, "at": "09:00"}, "months must be an integer from 1 to 120."),
        ({"months": 1, "on_day": 32, "at": "09:00"}, "on_day must be an integer from 1 to 31."),
        ({"days": 1}, "at must be given too"),
        ({"weeks": 1, "at": "09:00"}, "on must be given too"),
        ({"months": 1, "at": "09:00"}, "on_day must be given too"),
        ({"days": 1, "on": ["MON"], "at": "09:00"}, "'on' does not belong here. With days the keys are days, at."),
        ({"days": 1, "at": "9:00"}, "at must be a time of day"),
        ({"days": 1, "at": "24:00"}, "at must be a time of day"),
        ({"days": 1, "at": "09:00\n"}, "at must be a time of day"),
        ({"days": 1, "at": "٠٩:00"}, "at must be a time of day"),
        ({"days": 1, "at": 9}, "at must be a time of day"),
        ({"weeks": 1, "on": [], "at": "09:00"}, "on must be an array of one to seven days"),
        ({"weeks": 1, "on": "MON", "at": "09:00"}, "on must be an array of one to seven days"),
        ({"weeks": 1, "on": ["MON"] * 8, "at": "09:00"}, "on must be an array of one to seven days"),
        ({"weeks": 1, "on": [1], "at": "09:00"}, "Each day of on must be one of MON, TUE"),
        ({"weeks": 1, "on": ["Monday"], "at": "09:00"}, "Each day of on must be one of MON, TUE"),
    ],
)
def test_an_invalid_period_is_refused(value: object, reason: str) -> None:
    with pytest.raises(InvalidEveryError) as caught:
        read_every(value)
    assert reason in caught.value.message


def test_zones_of_the_test_exist() -> None:
    assert all(load_zone(name) for name in ZONES)
