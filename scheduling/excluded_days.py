"""Days on which a schedule does not run. Pure functions.

A day is a local date, counted in days from 1970-01-01. Slots on these days are recorded as skipped.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from commands_platform.lib.errors import InvalidInputError
from commands_platform.lib.zones import load_zone
from scheduling.cron import SECONDS_PER_DAY, UNIX_EPOCH_DAY
from scheduling.recurrence import Recurrence, missed, next_slot
from scheduling.stretches import LAST_INSTANT, instant_of

DATE_EXAMPLES = "a date such as 2026-12-25, nor a span of dates such as 2026-12-24/2026-12-26"

_CALENDAR_NAME = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,63}")
_DATES = re.compile(r"(\d{4}-\d{2}-\d{2})(?:/(\d{4}-\d{2}-\d{2}))?", re.ASCII)
_MOMENT = timedelta(microseconds=1)


class DaySpan(NamedTuple):
    """The days from `first` to `last`, both included."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class ExcludedDays:
    """Sorted spans of days, with other days between any two of them."""

    spans: tuple[DaySpan, ...]

    def span_at(self, day: int) -> DaySpan | None:
        """Returns the span that contains the day, or None."""
        index = bisect_right(self.spans, day, key=lambda span: span.first)
        return self.spans[index - 1] if index and day <= self.spans[index - 1].last else None

    def next_first(self, day: int) -> int | None:
        """Returns the first day of the next span after the day, or None."""
        index = bisect_right(self.spans, day, key=lambda span: span.first)
        return self.spans[index].first if index < len(self.spans) else None


class Part(NamedTuple):
    """Consecutive slots that are all excluded, or all not excluded."""

    first: datetime
    last: datetime
    slot_count: int
    is_excluded: bool


def is_calendar_name(entry: str) -> bool:
    return _CALENDAR_NAME.fullmatch(entry) is not None


@lru_cache(maxsize=4096)
def read_dates(entry: str) -> DaySpan | None:
    """Reads `2026-12-25` or `2026-12-24/2026-12-26`. Returns None for text in another form.

    Raises InvalidInputError for dates that do not exist, and for a span that ends before it begins.
    """
    match = _DATES.fullmatch(entry)
    if match is None:
        return None
    try:
        first, last = (date.fromisoformat(text or match[1]) for text in match.groups())
    except ValueError as error:
        raise InvalidInputError(f"{entry!r} is not a date that exists.") from error
    if last < first:
        raise InvalidInputError(f"{entry!r} ends before it begins.")
    return DaySpan(first.toordinal() - UNIX_EPOCH_DAY, last.toordinal() - UNIX_EPOCH_DAY)


def union_of_days(spans: Iterable[DaySpan]) -> ExcludedDays | None:
    """Returns all days of these spans, or None if there are none."""
    joined: list[DaySpan] = []
    for span in sorted(spans):
        if joined and span.first <= joined[-1].last + 1:
            joined[-1] = DaySpan(joined[-1].first, max(joined[-1].last, span.last))
        else:
            joined.append(span)
    return ExcludedDays(tuple(joined)) if joined else None


def is_excluded(slot: datetime, zone: str, excluded: ExcludedDays | None) -> bool:
    return excluded is not None and excluded.span_at(_day_of(slot, load_zone(zone))) is not None


def next_run(
    recurrence: Recurrence, excluded: ExcludedDays | None, *, first: datetime | None, ends_at: datetime | None
) -> datetime | None:
    """Returns the first slot from `first` on, itself a slot, that is not excluded and not after `ends_at`."""
    slot = first
    while slot is not None and (ends_at is None or slot <= ends_at):
        following = None if excluded is None else _end_of_span(slot, load_zone(recurrence.zone), excluded)
        if following is None:
            return slot
        slot = next_slot(recurrence, after=max(slot, following - _MOMENT))
    return None


def parts(recurrence: Recurrence, excluded: ExcludedDays | None, *, first: datetime, last: datetime) -> Iterator[Part]:
    """Divides the slots from the slot `first` to `last` into parts. The cost grows with the number of parts."""
    zone = load_zone(recurrence.zone)
    open_part: Part | None = None
    slot: datetime | None = first
    while slot is not None and slot <= last:
        skips, end = False, None
        if excluded is not None:
            end = _end_of_span(slot, zone, excluded)
            skips = end is not None
            if end is None:
                following = excluded.next_first(_day_of(slot, zone))
                end = None if following is None else _start_of_day(following, zone)
        passed = missed(recurrence, first=slot, now=last if end is None else min(last, max(slot, end - _MOMENT)))
        part = Part(slot, passed.latest, passed.earlier_count + 1, skips)
        if open_part is None:
            open_part = part
        elif open_part.is_excluded == skips:
            open_part = Part(open_part.first, part.last, open_part.slot_count + part.slot_count, skips)
        else:
            yield open_part
            open_part = part
        slot = next_slot(recurrence, after=passed.latest)
    if open_part is not None:
        yield open_part


def _end_of_span(slot: datetime, zone: ZoneInfo, excluded: ExcludedDays) -> datetime | None:
    """Returns the end of the excluded days that the slot lies on, or None if it lies on none."""
    span = excluded.span_at(_day_of(slot, zone))
    return None if span is None else _start_of_day(span.last + 1, zone)


def _day_of(instant: datetime, zone: ZoneInfo) -> int:
    return instant.astimezone(zone).toordinal() - UNIX_EPOCH_DAY


def _start_of_day(day: int, zone: ZoneInfo) -> datetime:
    """Returns when the local day starts. If its midnight is skipped or repeated, it may be up to a day earlier."""
    if day * SECONDS_PER_DAY >= LAST_INSTANT:
        return instant_of(LAST_INSTANT)
    midnight = datetime.fromordinal(day + UNIX_EPOCH_DAY).replace(tzinfo=zone)
    return min(midnight.astimezone(UTC), midnight.replace(fold=1).astimezone(UTC))
