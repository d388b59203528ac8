"""Computes when a schedule is due. The functions are pure: they depend on a recurrence, an instant and zone rules."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Literal
from uuid import UUID
from zoneinfo import ZoneInfo

from commands_platform.lib.zones import check_zone, load_zone, rules_of
from scheduling import wall_slots
from scheduling.cron_grammar import parse_cron
from scheduling.spread import delay_of
from scheduling.stretches import LAST_INSTANT, instant_of, seconds_of
from scheduling.wall_slots import (
    ClockNote,
    WallRule,
    count_between,
    first_from,
    last_before,
    prepare_cron_rule,
    prepare_period_rule,
)

__all__ = [
    "Missed",
    "Recurrence",
    "check_zone",
    "identity_of",
    "load_zone",
    "missed",
    "next_slot",
    "next_slot_within",
    "note_of",
    "parse_cron",
    "slots",
]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Recurrence:
    """The rule for a schedule's slots: times of a wall clock, or else a period, or else one slot at `anchor`.

    The times of a wall clock are those of `cron` or of `every`.
    """

    zone: str
    """An IANA name. `cron` and `every` are read on the wall clock of this zone."""
    anchor: datetime
    """The start of a period, whose slots are anchor + n·period for n ≥ 1. Without cron, every and period, the only
    slot. The days, weeks or months of `every` are counted from its local date."""
    cron: str = ""
    """One expression, or several, each ending with a newline."""
    every: str = ""
    """A period on the wall clock, as a schedule stores it."""
    period: timedelta | None = None
    cron_seconds: bool = False
    dst_gap: Literal["run_after", "skip"] = "run_after"
    """Whether a fixed wall time that a clock change skips fires right after the gap, or not at all."""
    dst_overlap: Literal["first", "both"] = "first"
    """Whether a fixed wall time that a clock change repeats fires only the first time, or both times."""
    seed: UUID | str = ""
    """The text that the values of `H` and the share of `spread` depend on: a schedule's UUID."""
    spread: int = 0
    """In seconds. Each slot is later by a share of it, which is the schedule's own."""

    def __post_init__(self) -> None:
        if self.anchor.tzinfo is None:
            raise ValueError("The anchor of a recurrence must be an aware datetime.")
        if self.period is not None and self.period <= timedelta(0):
            raise ValueError("The period of a recurrence must be longer than zero.")
        if self.spread < 0:
            raise ValueError("The spread of a recurrence must not be negative.")
        if self.dst_gap not in {"run_after", "skip"} or self.dst_overlap not in {"first", "both"}:
            raise ValueError("dst_gap must be run_after or skip, and dst_overlap must be first or both.")

    @property
    def is_on_wall_clock(self) -> bool:
        """Returns whether its slots are times of a wall clock, which depend on the zone."""
        return bool(self.cron or self.every)


@dataclass(frozen=True, slots=True)
class Missed:
    """Slots that have passed without a run: `latest`, and `earlier_count` before it, the last at `earlier_last`."""

    latest: datetime
    earlier_count: int
    earlier_last: datetime | None


def next_slot(recurrence: Recurrence, *, after: datetime) -> datetime | None:
    """Returns the first slot strictly after `after`, in UTC, or None if none follows.

    Raises InvalidCronError and InvalidTimezoneError for a recurrence that was never checked.
    """
    if after.tzinfo is None:
        raise ValueError("A naive datetime is not an instant.")
    if not recurrence.spread:
        return _time_after(recurrence, after)
    time = _time_until(recurrence, after)
    slot = None if time is None else _spread(recurrence, time)
    if slot is None or slot <= after:
        # Schedules of one rule share this search, because `after` differs and `time` does not.
        time = _time_after(recurrence, time or after)
        slot = None if time is None else _spread(recurrence, time)
    return slot


def _time_after(recurrence: Recurrence, after: datetime) -> datetime | None:
    """Returns the first time of the rule strictly after `after`. Without a spread, it is a slot."""
    if recurrence.is_on_wall_clock:
        return _next_wall_slot(_rule_of(recurrence), seconds_of(after))
    anchor = recurrence.anchor.astimezone(UTC)
    if recurrence.period is None:
        return anchor if after < anchor else None
    return _periodic_slot(anchor, recurrence.period, max(0, (after - anchor) // recurrence.period) + 1)


def _time_until(recurrence: Recurrence, until: datetime) -> datetime | None:
    """Returns the last time of the rule up to `until` whose slot may come after that, or None."""
    if recurrence.is_on_wall_clock:
        second = seconds_of(until)
        found = last_before(_rule_of(recurrence), second + 1, second - recurrence.spread)
        return None if found is None else instant_of(found)
    anchor = recurrence.anchor.astimezone(UTC)
    if recurrence.period is None:
        return anchor if anchor <= until else None
    number = (until - anchor) // recurrence.period
    return anchor + number * recurrence.period if number >= 1 else None


def _spread(recurrence: Recurrence, time: datetime) -> datetime:
    """Returns the slot for a time of the rule, which is before the next time of the rule."""
    following = _time_after(recurrence, time)
    gap = None if following is None else (following - time) // timedelta(seconds=1)
    return time + timedelta(seconds=delay_of(str(recurrence.seed), recurrence.spread, gap))


def next_slot_within(
    recurrence: Recurrence, *, after: datetime, starts_at: datetime | None, ends_at: datetime | None
) -> datetime | None:
    """Returns the first slot after `after` in a window that includes both of its ends. Each end may be open."""
    if starts_at is not None and starts_at > after:
        after = starts_at - timedelta(microseconds=1)
    slot = next_slot(recurrence, after=after)
    return None if slot is None or (ends_at is not None and slot > ends_at) else slot


def identity_of(recurrence: Recurrence) -> Hashable:
    """Returns a value that is equal for two recurrences with the same slots, however they are written.

    It does not depend on `spread`. Raises InvalidCronError and InvalidTimezoneError for a recurrence that was never
    checked.
    """
    if recurrence.is_on_wall_clock:
        rule = _rule_of(recurrence)
        zone = rules_of(rule.zone)
        # A zone without clock changes skips and repeats nothing, so the rules for them do not matter.
        changes = None if isinstance(zone, timedelta) else (rule.fires_after_gap, rule.fires_on_each_pass)
        return "wall clock", rule.times, zone, changes
    anchor = recurrence.anchor.astimezone(UTC)
    if recurrence.period is not None:
        return "period", recurrence.period, (anchor - _EPOCH) % recurrence.period
    return "once", anchor


def note_of(recurrence: Recurrence, slot: datetime) -> ClockNote | None:
    """Returns how a clock change affects a slot on the wall clock.

    `after_gap`: the clock skips its time, so it comes right after the gap. `first_of_two` and `second_of_two`: the
    clock shows its time twice.
    """
    if not recurrence.is_on_wall_clock:
        return None
    time = _time_until(recurrence, slot) if recurrence.spread else slot
    return None if time is None else wall_slots.note_of(_rule_of(recurrence), seconds_of(time))


def slots(recurrence: Recurrence, *, after: datetime, until: datetime | None = None) -> Iterator[datetime]:
    """Yields the slots strictly after `after`, in order, up to and including `until`."""
    slot = next_slot(recurrence, after=after)
    while slot is not None and (until is None or slot <= until):
        yield slot
        slot = next_slot(recurrence, after=slot)


def missed(recurrence: Recurrence, *, first: datetime, now: datetime) -> Missed:
    """Returns the slots from `first` to `now`. The cost grows with the number of months, not of slots."""
    if first > now:
        raise ValueError("The first missed slot is not due yet.")
    first = first.astimezone(UTC)
    if not recurrence.spread:
        return _passed_times(recurrence, first, now)
    first_time = _time_until(recurrence, first) or first
    passed = _passed_times(recurrence, first_time, now)
    if _spread(recurrence, passed.latest) > now:
        if passed.earlier_last is None:
            return Missed(first, 0, None)
        # The slot of the latest time is still to come.
        passed = _passed_times(recurrence, first_time, passed.latest - timedelta(microseconds=1))
    earlier = passed.earlier_last
    earlier_last = None if earlier is None else _spread(recurrence, earlier)
    return Missed(_spread(recurrence, passed.latest), passed.earlier_count, earlier_last)


def _passed_times(recurrence: Recurrence, first: datetime, now: datetime) -> Missed:
    """Returns the times of the rule from `first` to `now`. Without a spread, they are slots."""
    if recurrence.is_on_wall_clock:
        return _missed_on_wall_clock(_rule_of(recurrence), first, seconds_of(now) + 1)
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


# After an outage, the schedules of a herd ask for the same rule and span, one after the other.
@lru_cache(maxsize=256)
def _missed_on_wall_clock(rule: WallRule, first: datetime, end: int) -> Missed:
    after_first = seconds_of(first) + 1
    latest = last_before(rule, end, after_first)
    if latest is None:
        return Missed(first, 0, None)
    earlier = last_before(rule, latest, after_first)
    return Missed(
        latest=instant_of(latest),
        earlier_count=1 + count_between(rule, after_first, latest),
        earlier_last=first if earlier is None else instant_of(earlier),
    )


def _rule_of(recurrence: Recurrence) -> WallRule:
    zone, gap, overlap = load_zone(recurrence.zone), recurrence.dst_gap, recurrence.dst_overlap
    if not recurrence.cron:
        return prepare_period_rule(recurrence.every, _local_date(recurrence.anchor, zone), zone, gap, overlap)
    rule = prepare_cron_rule(recurrence.cron, recurrence.cron_seconds, zone, gap, overlap)
    if rule.is_hashed:
        seed = str(recurrence.seed)
        return prepare_cron_rule(recurrence.cron, recurrence.cron_seconds, zone, gap, overlap, seed=seed)
    return rule


def _local_date(instant: datetime, zone: ZoneInfo) -> date:
    # Close to the end of the calendar the local date may not exist.
    return instant_of(min(seconds_of(instant), LAST_INSTANT)).astimezone(zone).date()


# The schedules of a herd ask for the same rule and instant, one after another.
@lru_cache(maxsize=2048)
def _next_wall_slot(rule: WallRule, after: int) -> datetime | None:
    slot = first_from(rule, after + 1)
    return None if slot is None else instant_of(slot)
