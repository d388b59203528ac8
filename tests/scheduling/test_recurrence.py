from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from commands_platform.lib.zones import use_packaged_zones
from scheduling.errors import InvalidCronError, InvalidTimezoneError
from scheduling.recurrence import Missed, Recurrence, missed, next_slot, slots

use_packaged_zones()

ANCHOR = datetime(2026, 1, 1, tzinfo=UTC)
VECTORS = json.loads((Path(__file__).parent / "data" / "dst_vectors.json").read_text())["vectors"]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def cron(expression: str, zone: str = "UTC", **rules: Any) -> Recurrence:
    return Recurrence(zone, ANCHOR, expression, **rules)


def first(recurrence: Recurrence, after: str, count: int) -> list[datetime]:
    return list(islice(slots(recurrence, after=at(after)), count))


@pytest.mark.parametrize("vector", VECTORS, ids=[f"{v['expr']} {v['tz']} {v['from']}" for v in VECTORS])
def test_recurrences_agree_with_the_reference_vectors(vector: dict[str, Any]) -> None:
    found = first(cron(vector["expr"], vector["tz"]), vector["from"], 5)
    assert found == [at(instant) for instant in vector["expect"]]


@pytest.mark.parametrize(
    ("zone", "expression", "after", "expected"),
    [
        # Lord Howe: 02:00 becomes 02:30 at 15:30Z, and 02:00 becomes 01:30 at 15:00Z.
        ("Australia/Lord_Howe", "0,30 2 * * *", "2026-10-03T15:00Z", ["03T15:30", "04T15:00", "04T15:30"]),
        ("Australia/Lord_Howe", "45 1 * * *", "2026-04-04T14:30Z", ["04T14:45", "05T15:15"]),
        ("Australia/Lord_Howe", "45 * * * *", "2026-04-04T14:30Z", ["04T14:45", "04T15:15", "04T16:15"]),
        # Chatham: 02:45 becomes 03:45 at 14:00Z.
        ("Pacific/Chatham", "0 3 * * *", "2026-09-26T12:00Z", ["26T14:00", "27T13:15"]),
        ("Pacific/Chatham", "45 2,3 * * *", "2026-09-26T12:00Z", ["26T14:00", "27T13:00", "27T14:00"]),
        ("Pacific/Chatham", "15 * * * *", "2026-09-26T12:45Z", ["26T13:30", "26T14:30", "26T15:30"]),
        # Apia had no 30 December 2011: the 29th ended at 10:00Z and the 31st began.
        ("Pacific/Apia", "0 0 30 12 *", "2011-12-29T12:00Z", ["30T10:00"]),
        ("Pacific/Apia", "0 12 * * *", "2011-12-29T00:00Z", ["29T22:00", "30T10:00", "30T22:00", "31T22:00"]),
        ("Pacific/Apia", "0 0 * * *", "2011-12-29T00:00Z", ["29T10:00", "30T10:00", "31T10:00"]),
        ("Pacific/Apia", "30 23 * * 5", "2011-12-29T00:00Z", ["30T10:00"]),
        ("Pacific/Apia", "0 */6 * * *", "2011-12-30T00:00Z", ["30T04:00", "30T10:00", "30T16:00"]),
        # Troll: 01:00 becomes 03:00 at 01:00Z, and 03:00 becomes 01:00 at 01:00Z.
        ("Antarctica/Troll", "0,30 1,2,3 * * *", "2026-03-28T23:00Z", ["29T01:00", "29T01:30", "29T23:00"]),
        ("Antarctica/Troll", "0,30 1,2 * * *", "2026-10-24T22:00Z", ["24T23:00", "24T23:30", "25T00:00"]),
        # Casey: three hours back on 2010-03-05 02:00, and forward on 2011-10-28.
        ("Antarctica/Casey", "30 0 * * *", "2010-03-04T00:00Z", ["04T13:30", "05T16:30"]),
        ("Antarctica/Casey", "30 3 * * *", "2011-10-27T00:00Z", ["27T18:00", "28T16:30"]),
        # Gaps at midnight.
        ("America/Sao_Paulo", "59 23 3 11 *", "2018-11-03T12:00Z", ["04T02:59"]),
        ("America/Sao_Paulo", "30 0 4 11 *", "2018-11-03T12:00Z", ["04T03:00"]),
        ("Asia/Beirut", "0 0 * * *", "2026-03-27T12:00Z", ["27T22:00", "28T22:00", "29T21:00"]),
        ("Asia/Beirut", "30 0 * * 0", "2026-03-27T12:00Z", ["28T22:00"]),
        ("America/Havana", "0 0 * * *", "2025-03-08T00:00Z", ["08T05:00", "09T05:00", "10T04:00"]),
        ("America/Havana", "30 0 * * *", "2025-03-09T04:00Z", ["09T05:00", "10T04:30"]),
        ("America/Santiago", "15 0 * * *", "2025-09-06T12:00Z", ["07T04:00", "08T03:15"]),
        # Overlaps at midnight: Beirut and Santiago go back to 23:00, Havana from 01:00 to 00:00.
        ("Asia/Beirut", "30 23 * * *", "2025-10-25T12:00Z", ["25T20:30", "26T21:30"]),
        ("America/Havana", "0 0 * * *", "2025-11-01T12:00Z", ["02T04:00", "03T05:00"]),
        ("America/Havana", "30 0 * * *", "2025-11-02T04:45Z", ["03T05:30"]),
        ("America/Santiago", "0 0 * * *", "2025-04-05T12:00Z", ["06T04:00", "07T04:00"]),
        # Dublin's summer time is its standard time.
        ("Europe/Dublin", "30 1 * * *", "2026-03-28T12:00Z", ["29T01:00", "30T00:30"]),
        # The turn of the year: Kathmandu, and Manila's missing 31 December 1844.
        ("Asia/Kathmandu", "0-14 0 1 1 *", "1985-12-31T00:00Z", ["31T18:30"]),
        ("Asia/Manila", "0 6 31 12 *", "1844-12-30T20:00Z", ["31T15:56"]),
    ],
)  # fmt: skip
def test_slots_are_right_at_clock_changes_of_all_kinds(
    zone: str, expression: str, after: str, expected: list[str]
) -> None:
    month = after[:8]
    found = first(cron(expression, zone), after, len(expected))
    assert [slot.isoformat()[:16] for slot in found] == [month + instant for instant in expected]


@pytest.mark.parametrize(
    ("zone", "expression", "after", "expected"),
    [
        # Monrovia left -00:44:30 on 1972-01-07 at 00:44:30Z, when its clocks went from 00:00 to 00:44:30.
        ("Africa/Monrovia", "10 0 * * *", "1972-01-06T02:00:00Z", ["1972-01-07T00:45:00", "1972-01-08T00:10:00"]),
        ("Africa/Monrovia", "45 0 * * *", "1972-01-07T00:00:00Z", ["1972-01-07T00:45:00", "1972-01-08T00:45:00"]),
        ("Africa/Monrovia", "* * * * *", "1972-01-07T00:43:00Z", ["1972-01-07T00:43:30", "1972-01-07T00:45:00"]),
        # Kolkata went from +05:21:10 to +05:30 on 1906-01-01, from 00:00:00 to 00:08:50.
        ("Asia/Kolkata", "0 0 * * *", "1905-12-31T12:00:00Z", ["1905-12-31T18:39:00", "1906-01-01T18:30:00"]),
        ("Asia/Kolkata", "*/3 * * * *", "1905-12-31T18:35:50Z", ["1905-12-31T18:39:00", "1905-12-31T18:42:00"]),
        # New York's noon of 1883-11-18 came twice: -04:56:02 to -05:00.
        ("America/New_York", "0 12 * * *", "1883-11-18T00:00:00Z", ["1883-11-18T16:56:02", "1883-11-19T17:00:00"]),
    ],
)  # fmt: skip
def test_slots_are_right_if_offsets_are_not_whole_minutes(
    zone: str, expression: str, after: str, expected: list[str]
) -> None:
    found = first(cron(expression, zone), after, len(expected))
    assert [slot.isoformat()[:19] for slot in found] == expected


@pytest.mark.parametrize(
    ("zone", "expression", "after", "expected"),
    [
        # Casey began with 00:00 to 08:00 as 1969 did; Casablanca went from 00:00 back to 23:00 as 1986 began there.
        ("Antarctica/Casey", "0 4,9 * * *", "1968-12-31T12:00Z", ["1969-01-01T00:00", "1969-01-01T01:00"]),
        ("Africa/Casablanca", "30 23 * * *", "1985-12-31T12:00Z", ["1985-12-31T22:30", "1986-01-01T23:30"]),
        ("Africa/Casablanca", "30 * * * *", "1985-12-31T22:00Z", ["1985-12-31T22:30", "1985-12-31T23:30"]),
        # São Tomé went from 24:00:00 back to 22:56:19, and its 23:30 came again when 1884 had begun in UTC.
        ("Africa/Sao_Tome", "30 23 * * *", "1883-12-31T12:00Z", ["1883-12-31T23:03", "1884-01-02T00:06"]),
    ],
)
def test_slots_are_right_if_a_clock_changes_at_the_turn_of_the_year(
    zone: str, expression: str, after: str, expected: list[str]
) -> None:
    found = first(cron(expression, zone), after, len(expected))
    assert [slot.isoformat()[:16] for slot in found] == expected


def test_an_expression_with_seconds_runs_at_the_exact_end_of_a_gap() -> None:
    recurrence = cron("20 10 0 * * *", "Africa/Monrovia", cron_seconds=True)
    assert first(recurrence, "1972-01-06T02:00:00Z", 2) == [at("1972-01-07T00:44:30Z"), at("1972-01-08T00:10:20Z")]


@pytest.mark.parametrize(
    ("expression", "after", "expected"),
    [
        ("30 30 2 * * *", "2026-03-08T06:00:00Z", ["2026-03-08T07:00:00", "2026-03-09T06:30:30"]),
        ("* 30 2 * * *", "2026-03-08T06:00:00Z", ["2026-03-09T06:30:00", "2026-03-09T06:30:01"]),
        ("30 30 1 * * *", "2026-11-01T05:00:00Z", ["2026-11-01T05:30:30", "2026-11-02T06:30:30"]),
        ("30 30 * * * *", "2026-11-01T05:00:00Z", ["2026-11-01T05:30:30", "2026-11-01T06:30:30"]),
    ],
)
def test_seconds_follow_the_same_rules(expression: str, after: str, expected: list[str]) -> None:
    found = first(cron(expression, "America/New_York", cron_seconds=True), after, 2)
    assert [slot.isoformat()[:19] for slot in found] == expected


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ({}, ["08T07:00", "09T06:30"]),
        ({"dst_gap": "skip"}, ["09T06:30", "10T06:30"]),
        ({"dst_overlap": "both"}, ["08T07:00", "09T06:30"]),
    ],
)
def test_a_skipped_wall_time_runs_after_the_gap_or_not_at_all(rules: dict[str, Any], expected: list[str]) -> None:
    found = first(cron("30 2 * * *", "America/New_York", **rules), "2026-03-07T12:00Z", 2)
    assert [slot.isoformat()[:16] for slot in found] == ["2026-03-" + instant for instant in expected]


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ({}, ["01T05:30", "02T06:30", "03T06:30"]),
        ({"dst_overlap": "both"}, ["01T05:30", "01T06:30", "02T06:30"]),
        ({"dst_gap": "skip"}, ["01T05:30", "02T06:30", "03T06:30"]),
    ],
)
def test_a_repeated_wall_time_runs_once_or_at_both_passes(rules: dict[str, Any], expected: list[str]) -> None:
    found = first(cron("30 1 * * *", "America/New_York", **rules), "2026-10-31T12:00Z", 3)
    assert [slot.isoformat()[:16] for slot in found] == ["2026-11-" + instant for instant in expected]


def test_a_yearly_expression_in_a_repeated_hour_runs_at_the_second_pass_too() -> None:
    recurrence = cron("30 1 1 11 *", "America/New_York", dst_overlap="both")
    expected = [at("2026-11-01T05:30Z"), at("2026-11-01T06:30Z"), at("2027-11-01T05:30Z")]
    assert first(recurrence, "2026-01-01T00:00Z", 3) == expected
    assert missed(recurrence, first=expected[0], now=at("2027-10-01T00:00Z")) == Missed(expected[1], 1, expected[0])
    assert missed(recurrence, first=at("2025-11-01T05:30Z"), now=expected[0]).earlier_count == 1


def test_the_first_pass_counts_as_missed_while_the_second_is_not_due() -> None:
    recurrence = cron("30 1 1 11 *", "America/New_York", dst_overlap="both")
    due = at("2025-11-01T05:30Z")
    assert missed(recurrence, first=due, now=at("2026-11-01T06:10Z")) == Missed(at("2026-11-01T05:30Z"), 1, due)


def test_a_skipped_slot_is_not_missed_before_the_first_whole_minute_after_the_gap() -> None:
    recurrence = cron("10 0 * * *", "Africa/Monrovia")
    due = at("1972-01-06T00:54:30Z")
    assert missed(recurrence, first=due, now=at("1972-01-07T00:44:59Z")) == Missed(due, 0, None)
    assert missed(recurrence, first=due, now=at("1972-01-07T00:45:00Z")) == Missed(at("1972-01-07T00:45:00Z"), 1, due)


@pytest.mark.parametrize("rules", [{}, {"dst_gap": "skip"}, {"dst_overlap": "both"}])
def test_expressions_that_follow_real_time_do_so_under_all_rules(rules: dict[str, Any]) -> None:
    spring = first(cron("30 * * * *", "America/New_York", **rules), "2026-03-08T06:00Z", 3)
    autumn = first(cron("30 * * * *", "America/New_York", **rules), "2026-11-01T05:00Z", 3)
    assert spring == [at("2026-03-08T06:30Z"), at("2026-03-08T07:30Z"), at("2026-03-08T08:30Z")]
    assert autumn == [at("2026-11-01T05:30Z"), at("2026-11-01T06:30Z"), at("2026-11-01T07:30Z")]


def test_an_expression_that_always_falls_into_the_gap_has_no_slot() -> None:
    """New York's clocks skip 02:00 to 03:00 on the second Sunday of March."""
    start = at("2026-01-01T00:00Z")
    assert next_slot(cron("30 2 * 3 0#2", "America/New_York"), after=start) == at("2026-03-08T07:00Z")
    assert next_slot(cron("30 2 * 3 0#2", "America/New_York", dst_gap="skip"), after=start) is None
    assert next_slot(cron("* 2 * 3 0#2", "America/New_York"), after=start) is None


def test_the_start_may_be_in_any_zone_and_between_two_seconds() -> None:
    recurrence = cron("0 12 * * *", "Europe/Berlin")
    tokyo = datetime(2026, 7, 1, 19, 0, tzinfo=timezone(timedelta(hours=9)))
    assert next_slot(recurrence, after=tokyo) == at("2026-07-02T10:00Z")
    assert next_slot(recurrence, after=tokyo - timedelta(microseconds=1)) == at("2026-07-01T10:00Z")
    assert next_slot(recurrence, after=tokyo + timedelta(microseconds=1)) == at("2026-07-02T10:00Z")
    found = next_slot(recurrence, after=tokyo)
    assert found is not None
    assert found.tzinfo is UTC


@pytest.mark.parametrize(
    ("zone", "expected"),
    [("UTC", "9999-12-31T00:00"), ("Pacific/Kiritimati", "9999-12-30T10:00"), ("Pacific/Niue", "9999-12-29T11:00")],
)
def test_the_end_of_the_calendar_ends_the_slots(zone: str, expected: str) -> None:
    recurrence = cron("@daily", zone)
    found = first(recurrence, "9999-12-25T00:00Z", 20)
    assert len(found) >= 3
    assert found[-1] <= at(expected + "Z")
    assert next_slot(recurrence, after=datetime.max.replace(tzinfo=UTC)) is None
    assert next_slot(recurrence, after=datetime.max.replace(tzinfo=timezone(-timedelta(hours=12)))) is None


def test_slots_can_be_computed_at_the_beginning_of_the_calendar() -> None:
    recurrence = cron("@daily", "America/New_York")
    assert next_slot(recurrence, after=datetime.min.replace(tzinfo=timezone(timedelta(hours=14)))) is not None


def test_a_schedule_without_cron_and_period_has_one_slot() -> None:
    once = Recurrence("UTC", ANCHOR)
    assert next_slot(once, after=ANCHOR - timedelta(microseconds=1)) == ANCHOR
    assert next_slot(once, after=ANCHOR) is None
    assert missed(once, first=ANCHOR, now=ANCHOR + timedelta(days=1)) == Missed(ANCHOR, 0, None)


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (-timedelta(days=400), 1),
        (-timedelta(microseconds=1), 1),
        (timedelta(0), 1),
        (timedelta(seconds=89, microseconds=999_999), 1),
        (timedelta(seconds=90), 2),
        (timedelta(seconds=180), 3),
        (timedelta(days=3650), 3650 * 960 + 1),
    ],
)
def test_a_period_keeps_its_phase(after: timedelta, expected: int) -> None:
    period = timedelta(seconds=90)
    found = next_slot(Recurrence("UTC", ANCHOR, period=period), after=ANCHOR + after)
    assert found == ANCHOR + expected * period


def test_a_period_ends_with_the_calendar() -> None:
    late = datetime(9999, 12, 31, tzinfo=UTC)
    assert next_slot(Recurrence("UTC", late, period=timedelta(days=1)), after=late) is None
    assert next_slot(Recurrence("UTC", ANCHOR, period=timedelta.max), after=ANCHOR) is None


def test_cron_takes_precedence_over_a_period() -> None:
    both = cron("@daily", period=timedelta(seconds=1))
    assert next_slot(both, after=ANCHOR) == ANCHOR + timedelta(days=1)


def test_there_are_no_slots_after_until() -> None:
    until = at("2026-01-04T00:00Z")
    assert list(slots(cron("@daily"), after=ANCHOR, until=until)) == [ANCHOR + timedelta(days=n) for n in (1, 2, 3)]
    assert list(slots(cron("@daily"), after=until, until=until)) == []


def test_slots_are_computed_lazily() -> None:
    endless: Iterator[datetime] = slots(cron("* * * * * *", cron_seconds=True), after=ANCHOR)
    assert next(endless) == ANCHOR + timedelta(seconds=1)


def test_nothing_was_missed_before_the_latest_slot_when_it_is_the_first() -> None:
    due = at("2026-03-08T07:00Z")
    for now in (due, due + timedelta(hours=23)):
        assert missed(cron("30 2 * * *", "America/New_York"), first=due, now=now) == Missed(due, 0, None)


@pytest.mark.parametrize(
    "zone", ["UTC", "America/New_York", "Australia/Lord_Howe", "Antarctica/Troll", "Africa/Casablanca"]
)
@pytest.mark.parametrize("rules", [{}, {"dst_gap": "skip", "dst_overlap": "both"}])
@pytest.mark.parametrize("expression", ["30 2 * * *", "*/20 0-4 * * *", "0,30 1-3 * * *", "15 2 L * 0", "0 0 1 1 *"])
def test_missed_slots_are_those_that_would_have_fired(zone: str, rules: dict[str, Any], expression: str) -> None:
    recurrence = cron(expression, zone, **rules)
    due = next_slot(recurrence, after=at("2025-02-10T00:00Z"))
    assert due is not None
    now = due + timedelta(days=420, hours=5)
    every = [due, *slots(recurrence, after=due, until=now)]
    expected = Missed(every[-1], len(every) - 1, every[-2] if len(every) > 1 else None)
    assert missed(recurrence, first=due, now=now) == expected


def test_a_slot_of_an_earlier_rule_is_missed_too() -> None:
    due = at("2026-01-02T07:13Z")
    found = missed(cron("@daily"), first=due, now=at("2026-01-03T12:00Z"))
    assert found == Missed(at("2026-01-03T00:00Z"), 1, due)
    periodic = Recurrence("UTC", ANCHOR, period=timedelta(days=1))
    assert missed(periodic, first=due, now=at("2026-01-03T12:00Z")) == Missed(at("2026-01-03T00:00Z"), 1, due)


def test_no_period_was_missed_before_the_anchor() -> None:
    recurrence = Recurrence("UTC", ANCHOR, period=timedelta(days=1))
    due = ANCHOR - timedelta(days=9)
    assert missed(recurrence, first=due, now=ANCHOR + timedelta(days=2)) == Missed(
        ANCHOR + timedelta(days=2), 2, ANCHOR + timedelta(days=1)
    )
    assert missed(recurrence, first=due, now=ANCHOR + timedelta(hours=1)) == Missed(due, 0, None)


@pytest.mark.parametrize(("hours", "expected"), [(0, 0), (0.9, 0), (1, 1), (48.5, 48)])
def test_missed_periods_are_counted(hours: float, expected: int) -> None:
    recurrence = Recurrence("UTC", ANCHOR, period=timedelta(hours=1))
    due = ANCHOR + timedelta(hours=1)
    found = missed(recurrence, first=due, now=due + timedelta(hours=hours))
    assert found.latest == due + timedelta(hours=expected)
    assert found.earlier_count == expected
    assert found.earlier_last == (found.latest - timedelta(hours=1) if expected else None)


@pytest.mark.parametrize(
    ("recurrence", "days", "count"),
    [
        (Recurrence("UTC", ANCHOR, period=timedelta(seconds=1)), 3653, 3653 * 86_400),
        (cron("* * * * *", "America/New_York"), 365, 365 * 1440),
        (cron("* * * * * *", "America/New_York", cron_seconds=True), 3653, 3653 * 86_400),
    ],
)
def test_many_missed_slots_are_counted_without_visiting_each(recurrence: Recurrence, days: int, count: int) -> None:
    due = next_slot(recurrence, after=ANCHOR)
    assert due is not None
    found = missed(recurrence, first=due, now=due + timedelta(days=days))
    assert (found.latest, found.earlier_count) == (due + timedelta(days=days), count)


def test_missed_slots_cannot_be_in_the_future() -> None:
    with pytest.raises(ValueError, match="not due yet"):
        missed(cron("@daily"), first=ANCHOR + timedelta(seconds=1), now=ANCHOR)


def test_a_naive_start_is_refused() -> None:
    with pytest.raises(ValueError, match="naive"):
        next_slot(cron("@daily"), after=datetime(2026, 1, 1))  # noqa: DTZ001


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"anchor": datetime(2026, 1, 1)}, "must be an aware datetime"),  # noqa: DTZ001
        ({"period": timedelta(0)}, "longer than zero"),
        ({"period": -timedelta(seconds=5)}, "longer than zero"),
        ({"dst_gap": "maybe"}, "run_after or skip"),
        ({"dst_overlap": "none"}, "first or both"),
    ],
)
def test_an_invalid_recurrence_cannot_be_created(values: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Recurrence(**{"zone": "UTC", "anchor": ANCHOR, **values})


def test_an_invalid_expression_or_zone_is_refused_on_first_use() -> None:
    with pytest.raises(InvalidCronError):
        next_slot(cron("61 * * * *"), after=ANCHOR)
    with pytest.raises(InvalidTimezoneError):
        next_slot(cron("@daily", "localtime"), after=ANCHOR)


def test_equal_recurrences_are_equal_keys() -> None:
    assert {cron("@daily"): 1}[cron("@daily")] == 1
