"""Cuts real time at a zone's clock changes into stretches with one offset each.

Instants are whole seconds since 1970-01-01 00:00 UTC.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from scheduling.cron import SECONDS_PER_DAY, UNIX_EPOCH_DAY

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ONE_SECOND = timedelta(seconds=1)
# An offset is a day at most. Instants stay that far from the ends of the calendar, so that no conversion overflows.
DAY_AND_MORE = 2 * SECONDS_PER_DAY
FIRST_INSTANT = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _ONE_SECOND + DAY_AND_MORE
LAST_INSTANT = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _ONE_SECOND - DAY_AND_MORE
_PROBE = 3 * SECONDS_PER_DAY


def seconds_of(instant: datetime) -> int:
    """Returns the seconds from 1970 to the instant, rounded down."""
    return (instant - _EPOCH) // _ONE_SECOND


def instant_of(seconds: int) -> datetime:
    """Returns the instant in UTC."""
    return _EPOCH + timedelta(seconds=seconds)


class Stretch(NamedTuple):
    """Real time from `start` to `end`, in seconds since the epoch, at one offset from UTC."""

    start: int
    end: int
    offset: int
    seen_until: int
    """The wall time reached before the stretch: earlier than its first wall time after a gap, later in an overlap."""


@lru_cache(maxsize=4096)
def _stretches(zone: ZoneInfo, year: int) -> tuple[Stretch, ...]:
    """Returns the stretches that cover that year of UTC.

    `zoneinfo` has no list of transitions, so this asks for the offset every three days. No zone of the database changes
    twice within six days. The search begins early, so that both years see a change at their boundary.
    """
    year_start = max((date(year, 1, 1).toordinal() - UNIX_EPOCH_DAY) * SECONDS_PER_DAY, FIRST_INSTANT)
    year_end = min((date(year, 12, 31).toordinal() + 1 - UNIX_EPOCH_DAY) * SECONDS_PER_DAY, LAST_INSTANT)
    found: list[Stretch] = []
    start = instant = max(year_start - _PROBE, FIRST_INSTANT)
    offset = _offset(zone, start)
    seen_until = start + offset
    while instant < year_end:
        following = min(instant + _PROBE, year_end)
        new_offset = _offset(zone, following)
        if new_offset != offset:
            change = _change_between(zone, instant, following)
            found.append(Stretch(start, change, offset, seen_until))
            seen_until = change + offset
            start, offset = change, new_offset
        instant = following
    if start < year_end:
        found.append(Stretch(start, year_end, offset, seen_until))
    return tuple(stretch for stretch in found if stretch.end > year_start)


def _offset(zone: ZoneInfo, seconds: int) -> int:
    offset = instant_of(seconds).astimezone(zone).utcoffset()
    return offset // _ONE_SECOND if offset is not None else 0


def _change_between(zone: ZoneInfo, before: int, after: int) -> int:
    """Returns the first second of the new offset, which is after `before` and not after `after`."""
    offset = _offset(zone, before)
    while after - before > 1:
        middle = (before + after) // 2
        if _offset(zone, middle) == offset:
            before = middle
        else:
            after = middle
    return after


def stretch_at(zone: ZoneInfo, instant: int) -> Stretch:
    """Returns the stretch that holds the instant."""
    year = date.fromordinal(instant // SECONDS_PER_DAY + UNIX_EPOCH_DAY).year
    stretches = _stretches(zone, year)
    for stretch in stretches:
        if instant < stretch.end:
            return stretch
    return stretches[-1]
