"""The pure functions of excluded days, compared with a look at each slot."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import groupby, islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commands_platform.lib.errors import InvalidInputError
from commands_platform.lib.zones import load_zone, use_packaged_zones
from scheduling.excluded_days import (
    DaySpan,
    ExcludedDays,
    Part,
    is_excluded,
    next_run,
    parts,
    read_dates,
    union_of_days,
)
from scheduling.recurrence import Recurrence, slots

use_packaged_zones()

START = datetime(2026, 3, 1, tzinfo=UTC)
FIRST_DAY = date(2026, 3, 1).toordinal() - date(1970, 1, 1).toordinal()
RECURRENCES = [
    Recurrence("Europe/Berlin", START, "0 9 * * *"),
    Recurrence("Europe/Berlin", START, "*/30 0-3 * * *"),
    Recurrence("America/New_York", START, "30 2 * * *", dst_overlap="both"),
    Recurrence("Asia/Beirut", START, "0 * * * *"),
    Recurrence("Australia/Lord_Howe", START, period=timedelta(minutes=47)),
    Recurrence("Pacific/Kiritimati", START, every='{"days":2,"at":"23:30"}'),
]

spans = st.lists(st.tuples(st.integers(-3, 60), st.integers(0, 5)), max_size=8).map(
    lambda found: union_of_days(DaySpan(FIRST_DAY + first, FIRST_DAY + first + length) for first, length in found)
)


def test_spans_are_joined() -> None:
    found = union_of_days([DaySpan(5, 6), DaySpan(1, 2), DaySpan(3, 3), DaySpan(6, 9)])
    assert found == ExcludedDays((DaySpan(1, 3), DaySpan(5, 9)))
    assert union_of_days([]) is None


@given(spans, st.integers(-10, 80))
def test_a_day_is_in_the_span_that_contains_it(excluded: ExcludedDays | None, offset: int) -> None:
    day = FIRST_DAY + offset
    all_spans = excluded.spans if excluded else ()
    expected = next((span for span in all_spans if span.first <= day <= span.last), None)
    assert (excluded.span_at(day) if excluded else None) == expected


@settings(max_examples=120, deadline=None)
@given(st.sampled_from(RECURRENCES), spans, st.integers(0, 40 * 86_400), st.integers(1, 400))
def test_parts_agree_with_a_look_at_each_slot(
    recurrence: Recurrence, excluded: ExcludedDays | None, offset: int, count: int
) -> None:
    found = list(islice(slots(recurrence, after=START + timedelta(seconds=offset)), count))
    zone = load_zone(recurrence.zone)
    days = {day for span in (excluded.spans if excluded else ()) for day in range(span.first, span.last + 1)}

    def on_excluded_day(slot: datetime) -> bool:
        return slot.astimezone(zone).date().toordinal() - date(1970, 1, 1).toordinal() in days

    assert [is_excluded(slot, recurrence.zone, excluded) for slot in found] == [on_excluded_day(slot) for slot in found]
    expected = []
    for skips, group in groupby(found, on_excluded_day):
        members = list(group)
        expected.append(Part(members[0], members[-1], len(members), skips))
    assert list(parts(recurrence, excluded, first=found[0], last=found[-1])) == expected

    running = next((slot for slot in found if not on_excluded_day(slot)), None)
    assert next_run(recurrence, excluded, first=found[0], ends_at=found[-1]) == running


def test_a_schedule_whose_slots_are_all_excluded_has_no_next_run() -> None:
    excluded = union_of_days([DaySpan(0, date.max.toordinal() - date(1970, 1, 1).toordinal())])
    recurrence = Recurrence("UTC", START, "* * * * *")
    assert next_run(recurrence, excluded, first=START, ends_at=None) is None


@pytest.mark.parametrize(
    ("entry", "days"),
    [("2026-03-01", (0, 0)), ("2026-03-01/2026-03-03", (0, 2)), ("2026-02-28/2026-02-28", (-1, -1))],
)
def test_dates_and_spans_are_read(entry: str, days: tuple[int, int]) -> None:
    assert read_dates(entry) == DaySpan(FIRST_DAY + days[0], FIRST_DAY + days[1])


@pytest.mark.parametrize("entry", ["holidays", "2026-3-1", "20260301", "2026-03-01/", "٢٠٢٦-03-01", " 2026-03-01", ""])
def test_other_text_is_no_date(entry: str) -> None:
    assert read_dates(entry) is None


@pytest.mark.parametrize(
    "entry", ["2026-02-29", "2026-13-01", "0000-01-01", "2026-03-02/2026-03-01", "2026-01-01/2026-01-32"]
)
def test_a_date_that_does_not_exist_is_refused(entry: str) -> None:
    with pytest.raises(InvalidInputError):
        read_dates(entry)
