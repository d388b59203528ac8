"""When a schedule is due next: pure functions of a recurrence, an instant and the zone database.

A clock change splits time into stretches with one offset each. Within a stretch wall time and real time run side by
side; what happens to the wall times that a change skips or repeats is decided where two stretches meet.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

from commands_platform.lib.zones import check_zone, load_zone
from scheduling.cron import SECONDS_PER_DAY, UNIX_EPOCH_DAY, CronExpression
from scheduling.cron_grammar import parse_cron

__all__ = [
    "Missed",
    "Recurrence",
    "check_zone",
    "load_zone",
    "missed",
    "next_slot",
    "next_slot_within",
    "parse_cron",
    "slots",
]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
# Offsets reach a day at most; the ends of the calendar stay that far off, so that no conversion runs over them.
_DAY_AND_MORE = 2 * SECONDS_PER_DAY
_FIRST_INSTANT = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _SECOND + _DAY_AND_MORE
_LAST_INSTANT = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _SECOND - _DAY_AND_MORE
_PROBE = 3 * SECONDS_PER_DAY
# The rarest date, a 29 February on one weekday, comes back within 40 years. What has no slot for longer falls into the
# gap of its zone's clock change each time.
_HORIZON = 50 * 366 * SECONDS_PER_DAY


@dataclass(frozen=True, slots=True)
class Recurrence:
    """The rule that makes a schedule's slots: a cron expression, else a period, else one slot at `anchor`."""

    zone: str
    """An IANA name: the wall clock that a cron expression is read against."""
    anchor: datetime
    """The phase of a period, whose slots are anchor + n·period for n ≥ 1; without cron and period, the slot."""
    cron: str = ""
    period: timedelta | None = None
    cron_seconds: bool = False
    dst_gap: Literal["run_after", "skip"] = "run_after"
    """A fixed wall time that a clock change skips fires right after the gap, or not at all."""
    dst_overlap: Literal["first", "both"] = "first"
    """A fixed wall time that a clock change repeats fires at its first pass, or at each."""

    def __post_init__(self) -> None:
        if self.anchor.tzinfo is None:
            raise ValueError("A recurrence's anchor is an aware datetime.")
        if self.period is not None and self.period <= timedelta(0):
            raise ValueError("A recurrence's period is longer than nothing.")
        if self.dst_gap not in {"run_after", "skip"} or self.dst_overlap not in {"first", "both"}:
            raise ValueError("A recurrence's daylight saving rules are run_after or skip, and first or both.")


@dataclass(frozen=True, slots=True)
class Missed:
    """The slots that have passed unserved, first to last: `earlier_count` of them, then `latest`."""

    latest: datetime
    earlier_count: int
    earlier_last: datetime | None


def next_slot(recurrence: Recurrence, *, after: datetime) -> datetime | None:
    """The first slot strictly after `after`, in UTC; None when none follows.

    Raises InvalidCronError and InvalidTimezoneError for a recurrence that was never checked.
    """
    if after.tzinfo is None:
        raise ValueError("A naive datetime is no instant.")
    if recurrence.cron:
        return _next_cron_slot(_rule_of(recurrence), _seconds(after))
    anchor = recurrence.anchor.astimezone(UTC)
    if recurrence.period is None:
        return anchor if after < anchor else None
    return _periodic_slot(anchor, recurrence.period, max(0, (after - anchor) // recurrence.period) + 1)


def next_slot_within(
    recurrence: Recurrence, *, after: datetime, starts_at: datetime | None, ends_at: datetime | None
) -> datetime | None:
    """The same in a window, of which both ends are part and either may be open."""
    if starts_at is not None and starts_at > after:
        after = starts_at - timedelta(microseconds=1)
    slot = next_slot(recurrence, after=after)
    return None if slot is None or (ends_at is not None and slot > ends_at) else slot


def slots(recurrence: Recurrence, *, after: datetime, until: datetime | None = None) -> Iterator[datetime]:
    """The slots strictly after `after`, in order, up to and with `until`; without it as long as there are any."""
    slot = next_slot(recurrence, after=after)
    while slot is not None and (until is None or slot <= until):
        yield slot
        slot = next_slot(recurrence, after=slot)


def missed(recurrence: Recurrence, *, first: datetime, now: datetime) -> Missed:
    """What became due from `first`, a slot that is due, to `now`; costs steps of months, never of slots."""
    if first > now:
        raise ValueError("The first missed slot is not due yet.")
    first = first.astimezone(UTC)
    if recurrence.cron:
        return _missed_cron(recurrence, first, now)
    if recurrence.period is None:
        return Missed(first, 0, None)
    anchor, period = recurrence.anchor.astimezone(UTC), recurrence.period
    count = (now - anchor) // period - max(0, (first - anchor) // period)
    if count <= 0:
        return Missed(first, 0, None)
    latest = anchor + (now - anchor) // period * period
    return Missed(latest, count, max(first, latest - period))


def _periodic_slot(anchor: datetime, period: timedelta, number: int) -> datetime | None:
    try:
        return anchor + number * period
    except OverflowError:
        return None


def _missed_cron(recurrence: Recurrence, first: datetime, now: datetime) -> Missed:
    rule = _rule_of(recurrence)
    after_first, after_now = _seconds(first) + 1, _seconds(now) + 1
    latest = _last_before(rule, after_now, after_first)
    if latest is None:
        return Missed(first, 0, None)
    earlier = _last_before(rule, latest, after_first)
    return Missed(
        latest=_instant(latest),
        earlier_count=1 + _count_between(rule, after_first, latest),
        earlier_last=first if earlier is None else _instant(earlier),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Rule:
    """A cron recurrence made ready. Equal ones are one object, so that what is memoised by it is found by identity."""

    cron: CronExpression
    zone: ZoneInfo
    fires_after_gap: bool
    fires_on_each_pass: bool


def _rule_of(recurrence: Recurrence) -> _Rule:
    return _rule(
        recurrence.cron,
        recurrence.cron_seconds,
        load_zone(recurrence.zone),
        recurrence.dst_gap == "run_after",
        recurrence.dst_overlap == "both",
    )


# The zone goes in as an object, not by its name: after a reload of the zone database nothing old is found.
@lru_cache(maxsize=4096)
def _rule(cron: str, cron_seconds: bool, zone: ZoneInfo, run_after: bool, both: bool) -> _Rule:
    expression = parse_cron(cron, seconds=cron_seconds)
    real_time = expression.follows_real_time
    return _Rule(expression, zone, fires_after_gap=run_after and not real_time, fires_on_each_pass=both or real_time)


# A herd of schedules asks for the same rule and instant, one after the other.
@lru_cache(maxsize=4096)
def _next_cron_slot(rule: _Rule, after: int) -> datetime | None:
    slot = _first_from(rule, after + 1)
    return None if slot is None else _instant(slot)


def _seconds(instant: datetime) -> int:
    return (instant - _EPOCH) // _SECOND


def _instant(seconds: int) -> datetime:
    return _EPOCH + timedelta(seconds=seconds)


class _Stretch(NamedTuple):
    """Real time from `start` to `end`, in seconds since the epoch, at one offset from UTC."""

    start: int
    end: int
    offset: int
    seen_until: int
    """How far the wall clock had come before: short of the stretch's start after a gap, beyond it in an overlap."""


@lru_cache(maxsize=4096)
def _stretches(zone: ZoneInfo, year: int) -> tuple[_Stretch, ...]:
    """The stretches that cover that year of UTC.

    Found by asking for the offset every few days, as `zoneinfo` does not tell its transitions; no zone of the database
    changes twice within six days. The search begins early: a change at the year's turn is to be seen from both sides.
    """
    year_start = max((date(year, 1, 1).toordinal() - UNIX_EPOCH_DAY) * SECONDS_PER_DAY, _FIRST_INSTANT)
    year_end = min((date(year, 12, 31).toordinal() + 1 - UNIX_EPOCH_DAY) * SECONDS_PER_DAY, _LAST_INSTANT)
    found: list[_Stretch] = []
    start = instant = max(year_start - _PROBE, _FIRST_INSTANT)
    offset = _offset(zone, start)
    seen_until = start + offset
    while instant < year_end:
        following = min(instant + _PROBE, year_end)
        new_offset = _offset(zone, following)
        if new_offset != offset:
            change = _change_between(zone, instant, following)
            found.append(_Stretch(start, change, offset, seen_until))
            seen_until = change + offset
            start, offset = change, new_offset
        instant = following
    if start < year_end:
        found.append(_Stretch(start, year_end, offset, seen_until))
    return tuple(stretch for stretch in found if stretch.end > year_start)


def _offset(zone: ZoneInfo, seconds: int) -> int:
    offset = _instant(seconds).astimezone(zone).utcoffset()
    return offset // _SECOND if offset is not None else 0


def _change_between(zone: ZoneInfo, before: int, after: int) -> int:
    """The first second of the new offset, after the one instant and not after the other."""
    offset = _offset(zone, before)
    while after - before > 1:
        middle = (before + after) // 2
        if _offset(zone, middle) == offset:
            before = middle
        else:
            after = middle
    return after


def _stretch_at(zone: ZoneInfo, instant: int) -> _Stretch:
    year = date.fromordinal(instant // SECONDS_PER_DAY + UNIX_EPOCH_DAY).year
    stretches = _stretches(zone, year)
    for stretch in stretches:
        if instant < stretch.end:
            return stretch
    return stretches[-1]


def _first_wall(rule: _Rule, stretch: _Stretch) -> int:
    """From where on the stretch's wall times fire: not in an overlap's second pass, unless each pass counts."""
    wall = stretch.start + stretch.offset
    return wall if rule.fires_on_each_pass else max(wall, stretch.seen_until)


def _landing(rule: _Rule, stretch: _Stretch) -> int | None:
    """When the wall times that were skipped before the stretch fire, all as one: its first second or whole minute."""
    wall = stretch.start + stretch.offset
    if not rule.fires_after_gap or wall <= stretch.seen_until:
        return None
    skipped = rule.cron.first_from(stretch.seen_until)
    if skipped is None or skipped >= wall:
        return None
    return stretch.start if rule.cron.has_seconds else stretch.start + -wall % 60


def _first_from(rule: _Rule, instant: int) -> int | None:
    """The first slot at or after `instant`."""
    limit = min(instant + _HORIZON, _LAST_INSTANT)
    cursor = max(instant, _FIRST_INSTANT)
    while cursor < limit:
        stretch = _stretch_at(rule.zone, cursor)
        landing = _landing(rule, stretch) if cursor < stretch.start + 60 else None
        wall = rule.cron.first_from(max(cursor + stretch.offset, _first_wall(rule, stretch)))
        slot = None if wall is None else wall - stretch.offset
        if landing is not None and landing >= cursor and (slot is None or landing < slot):
            return landing
        if slot is None:
            return None
        if slot < stretch.end:
            return slot
        # No wall time matches between the cursor's and this one. So nothing fires until near it, whatever the offset is
        # by then, except what the clock repeats by being put back at the stretch's end.
        is_repeatable = stretch.end - cursor < _DAY_AND_MORE
        cursor = stretch.end if is_repeatable else max(stretch.end, slot - _DAY_AND_MORE)
    return None


def _last_before(rule: _Rule, instant: int, not_before: int) -> int | None:
    """The last slot in [not_before, instant)."""
    cursor = min(instant, _LAST_INSTANT)
    not_before = max(not_before, _FIRST_INSTANT)
    while cursor > not_before:
        stretch = _stretch_at(rule.zone, cursor - 1)
        wall = rule.cron.last_before(cursor + stretch.offset)
        slot = None if wall is None or wall < _first_wall(rule, stretch) else wall - stretch.offset
        if slot is None:
            landing = _landing(rule, stretch)
            slot = landing if landing is not None and landing < cursor else None
        if slot is not None:
            return slot if slot >= not_before else None
        if wall is None:
            return None
        is_repeated = cursor - stretch.start < _DAY_AND_MORE
        cursor = stretch.start if is_repeated else min(stretch.start, wall - stretch.offset + _DAY_AND_MORE)
    return None


def _count_between(rule: _Rule, start: int, end: int) -> int:
    """How many slots lie in [start, end)."""
    count = 0
    cursor = max(start, _FIRST_INSTANT)
    end = min(end, _LAST_INSTANT)
    while cursor < end:
        stretch = _stretch_at(rule.zone, cursor)
        stretch_end = min(stretch.end, end)
        first_wall = max(cursor + stretch.offset, _first_wall(rule, stretch))
        count += rule.cron.count_between(first_wall, stretch_end + stretch.offset)
        landing = _landing(rule, stretch)
        if landing is not None and cursor <= landing < stretch_end:
            count += rule.cron.first_from(landing + stretch.offset) != landing + stretch.offset
        cursor = stretch_end
    return count
