"""Computes the slots of a rule for a wall clock in a zone, as whole seconds since 1970-01-01 00:00 UTC.

In a stretch of one offset, wall time and real time advance together. Between two stretches the clock changes, and the
rule decides which of the skipped or repeated wall times fire.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Literal
from zoneinfo import ZoneInfo

from scheduling.cron import SECONDS_PER_DAY, CronExpression
from scheduling.cron_grammar import parse_cron, union_of
from scheduling.cron_union import CronUnion
from scheduling.stretches import DAY_AND_MORE, FIRST_INSTANT, LAST_INSTANT, Stretch, stretch_at
from scheduling.wall_periods import DayCycle, MonthCycle, cycle_of

ClockNote = Literal["after_gap", "first_of_two", "second_of_two"]
WallTimes = CronExpression | CronUnion | DayCycle | MonthCycle

# The rarest date, 29 February on a given weekday, comes back within 40 years. A rule that has no slot for longer has
# only wall times that a clock change skips.
_HORIZON = 50 * 366 * SECONDS_PER_DAY


@dataclass(frozen=True, slots=True, eq=False)
class WallRule:
    """Times of a wall clock, ready to use. Equal rules are one object, so caches find them by identity."""

    zone: ZoneInfo
    times: WallTimes
    fires_after_gap: WallTimes | None
    """Those of the times that fire right after the gap if a clock change skips them."""
    fires_on_each_pass: WallTimes | None
    """Those of the times that fire each time if a clock change repeats them."""
    is_hashed: bool = False


# The zone is an argument as an object, not as a name, so that no old rule is found after the zone database is reloaded.
# Sixteen expressions take some 40 KB, so a cache that is full of the largest rules takes 80 MB.
@lru_cache(maxsize=2048)
def prepare_cron_rule(
    cron: str,
    cron_seconds: bool,
    zone: ZoneInfo,
    dst_gap: str,
    dst_overlap: str,
    *,
    seed: str = "",
) -> WallRule:
    """Returns the rule of a schedule's `cron`. Raises InvalidCronError."""
    parsed = parse_cron(cron, seconds=cron_seconds, seed=seed)
    fixed = union_of(expression for expression in parsed.expressions if not expression.follows_real_time)
    following = union_of(expression for expression in parsed.expressions if expression.follows_real_time)
    return WallRule(
        zone,
        parsed,
        fires_after_gap=fixed if dst_gap == "run_after" else None,
        fires_on_each_pass=parsed if dst_overlap == "both" else following,
        is_hashed=parsed.is_hashed,
    )


def prepare_period_rule(every: str, start: date, zone: ZoneInfo, dst_gap: str, dst_overlap: str) -> WallRule:
    """Returns the rule of a schedule's `every`, counted from the local date `start`."""
    return _prepare_cycle_rule(cycle_of(every, start), zone, dst_gap, dst_overlap)


# Schedules that began on different days share a rule if their slots are the same.
@lru_cache(maxsize=2048)
def _prepare_cycle_rule(cycle: DayCycle | MonthCycle, zone: ZoneInfo, dst_gap: str, dst_overlap: str) -> WallRule:
    return WallRule(
        zone,
        cycle,
        fires_after_gap=cycle if dst_gap == "run_after" else None,
        fires_on_each_pass=cycle if dst_overlap == "both" else None,
    )


def _first_wall_from(rule: WallRule, stretch: Stretch, wall: int) -> int | None:
    """Returns the first wall time at or after `wall` that fires by the clock of the stretch."""
    if wall < stretch.seen_until:
        again = rule.fires_on_each_pass.first_from(wall) if rule.fires_on_each_pass is not None else None
        if again is not None and again < stretch.seen_until:
            return again
        wall = stretch.seen_until
    return rule.times.first_from(wall)


def _last_wall_before(rule: WallRule, stretch: Stretch, wall: int) -> int | None:
    """Returns the last wall time before `wall` that fires in the stretch."""
    start = stretch.start + stretch.offset
    found = rule.times.last_before(wall)
    if found is not None and start <= found < stretch.seen_until:
        again = rule.fires_on_each_pass
        found = again.last_before(min(wall, stretch.seen_until)) if again is not None else None
    return None if found is None or found < start else found


def _landing(rule: WallRule, stretch: Stretch) -> int | None:
    """Returns when the wall times that were skipped before the stretch fire together: its first second or minute."""
    wall = stretch.start + stretch.offset
    if rule.fires_after_gap is None or wall <= stretch.seen_until:
        return None
    skipped = rule.fires_after_gap.first_from(stretch.seen_until)
    if skipped is None or skipped >= wall:
        return None
    return stretch.start if rule.times.has_seconds else stretch.start + -wall % 60


def first_from(rule: WallRule, instant: int) -> int | None:
    """Returns the first slot at or after `instant`, or None if none follows."""
    limit = min(instant + _HORIZON, LAST_INSTANT)
    cursor = max(instant, FIRST_INSTANT)
    while cursor < limit:
        stretch = stretch_at(rule.zone, cursor)
        landing = _landing(rule, stretch) if cursor < stretch.start + 60 else None
        wall = _first_wall_from(rule, stretch, cursor + stretch.offset)
        slot = None if wall is None else wall - stretch.offset
        if landing is not None and landing >= cursor and (slot is None or landing < slot):
            return landing
        if slot is None:
            return None
        if slot < stretch.end:
            return slot
        # No wall time matches between the cursor's and this one. So nothing fires until shortly before it, whatever the
        # offset is then, except for wall times that are repeated if the clock goes back at the end of the stretch.
        is_repeatable = stretch.end - cursor < DAY_AND_MORE
        cursor = stretch.end if is_repeatable else max(stretch.end, slot - DAY_AND_MORE)
    return None


def last_before(rule: WallRule, instant: int, not_before: int) -> int | None:
    """Returns the last slot in [not_before, instant), or None if there is none."""
    cursor = min(instant, LAST_INSTANT)
    not_before = max(not_before, FIRST_INSTANT)
    while cursor > not_before:
        stretch = stretch_at(rule.zone, cursor - 1)
        fired = _last_wall_before(rule, stretch, cursor + stretch.offset)
        slot = None if fired is None else fired - stretch.offset
        if slot is None:
            landing = _landing(rule, stretch)
            slot = landing if landing is not None and landing < cursor else None
        if slot is not None:
            return slot if slot >= not_before else None
        wall = rule.times.last_before(cursor + stretch.offset)
        if wall is None:
            return None
        is_repeated = cursor - stretch.start < DAY_AND_MORE
        cursor = stretch.start if is_repeated else min(stretch.start, wall - stretch.offset + DAY_AND_MORE)
    return None


def note_of(rule: WallRule, instant: int) -> ClockNote | None:
    """Returns how a clock change affects the slot at `instant`, or None if it does not."""
    stretch = stretch_at(rule.zone, instant)
    wall = instant + stretch.offset
    if rule.times.first_from(wall) != wall:
        return "after_gap"
    if wall < stretch.seen_until:
        return "second_of_two"
    following = stretch_at(rule.zone, stretch.end)
    is_seen_again = following.start + following.offset <= wall < following.seen_until
    return "first_of_two" if is_seen_again else None


def count_between(rule: WallRule, start: int, end: int) -> int:
    """Counts the slots in [start, end)."""
    count = 0
    cursor = max(start, FIRST_INSTANT)
    end = min(end, LAST_INSTANT)
    while cursor < end:
        stretch = stretch_at(rule.zone, cursor)
        stretch_end = min(stretch.end, end)
        first_wall, end_wall = cursor + stretch.offset, stretch_end + stretch.offset
        count += rule.times.count_between(max(first_wall, stretch.seen_until), end_wall)
        if rule.fires_on_each_pass is not None and first_wall < stretch.seen_until:
            count += rule.fires_on_each_pass.count_between(first_wall, min(stretch.seen_until, end_wall))
        landing = _landing(rule, stretch)
        if landing is not None and cursor <= landing < stretch_end:
            count += rule.times.first_from(landing + stretch.offset) != landing + stretch.offset
        cursor = stretch_end
    return count
