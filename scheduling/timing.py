"""Begins a schedule's timing, begins it again, and resumes it after a pause. Nothing here touches the database.

The functions set the computed columns `anchor_at`, `effective_from`, `next_run_at`, `repeats_since` and
`deactivation_reason`. The caller has locked the schedule, or has not saved it yet.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings

from commands_platform.lib.errors import InvalidInputError
from scheduling.models import DeactivationReason, ScheduledExecution
from scheduling.recurrence import missed

_MOMENT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Passed:
    """Slots that have passed and that no dispatcher has planned."""

    first: datetime
    last: datetime
    count: int


def start(schedule: ScheduledExecution, now: datetime, *, keeps_anchor: bool = False) -> None:
    """Begins the timing at `now` and computes its first run, which is None if there is none in its window.

    With `starts_at`, a one-off runs at that instant, and a period has its first slot there. With `keeps_anchor`, a
    period keeps its phase, and a one-off its time.
    """
    schedule.effective_from = now
    if schedule.cron:
        schedule.anchor_at = now
        schedule.next_run_at = schedule.slot_after(now)
    elif schedule.every:
        schedule.anchor_at = schedule.counted_from
        schedule.next_run_at = schedule.slot_after(now)
    elif schedule.execution_frequency:
        if not keeps_anchor:
            schedule.anchor_at = _phase(schedule, now)
        schedule.next_run_at = schedule.slot_after(now)
    else:
        if not keeps_anchor:
            schedule.anchor_at = max(now, schedule.starts_at or now)
        schedule.next_run_at = schedule.slot_after(schedule.anchor_at - _MOMENT)


def _phase(schedule: ScheduledExecution, now: datetime) -> datetime:
    if schedule.starts_at is not None:
        return schedule.starts_at - settings.FREQUENCY_UNIT * schedule.execution_frequency
    # It is rounded up to a whole second, so that the first run never comes before a whole period is over.
    return now if now.microsecond == 0 else now.replace(microsecond=0) + timedelta(seconds=1)


def apply_transition(
    schedule: ScheduledExecution, now: datetime, *, was_active: bool, timing_changed: bool, keeps_anchor: bool
) -> None:
    """Computes the next run after a change, and says why a schedule that was just stopped is inactive."""
    resumed = schedule.is_active and not was_active
    if schedule.next_run_at and schedule.ends_at and schedule.next_run_at > schedule.ends_at:
        schedule.next_run_at = None
    if timing_changed:
        start(schedule, now, keeps_anchor=keeps_anchor)
    elif resumed and schedule.next_run_at is None:
        _restart(schedule, now)
    elif resumed:
        _skip_pause(schedule, now)
    if schedule.is_active:
        schedule.deactivation_reason = ""
    elif was_active:
        done = schedule.repeats == 0
        schedule.deactivation_reason = DeactivationReason.COMPLETED if done else DeactivationReason.PAUSED


def _restart(schedule: ScheduledExecution, now: datetime) -> None:
    """Starts a completed schedule again: a one-off runs at once, any other at its next slot in the old phase."""
    schedule.effective_from = now
    schedule.next_run_at = schedule.slot_after(now)
    if schedule.next_run_at is None:
        start(schedule, now)


def _skip_pause(schedule: ScheduledExecution, now: datetime) -> None:
    """Resumes a schedule after a pause, in the old phase. A one-off that was due during the pause runs now."""
    if schedule.deactivation_reason in (DeactivationReason.FAILING, DeactivationReason.GONE):
        # Answers that came before it was resumed no longer count.
        schedule.effective_from = now
    if schedule.is_recurring:
        schedule.next_run_at = schedule.slot_after(now)
    elif schedule.next_run_at is not None and schedule.next_run_at <= now:
        start(schedule, now)


def count_repeats_anew(schedule: ScheduledExecution, now: datetime) -> None:
    """Notes that `repeats` was set, so that only slots that are still to be planned count against it."""
    schedule.repeats_since = schedule.next_run_at or now + _MOMENT


def is_slot_to_come(schedule: ScheduledExecution, instant: datetime) -> bool:
    """Returns whether a slot of the schedule falls on this instant and no dispatcher has planned it yet."""
    if schedule.next_run_at is None or schedule.next_run_at > instant:
        return False
    try:
        return schedule.slot_after(instant - _MOMENT) == instant
    except InvalidInputError:
        return schedule.next_run_at == instant


def passed_slots(schedule: ScheduledExecution, now: datetime) -> Passed | None:
    """Returns the slots from its next run to `now`, which do not run because of a pause or a change of timing."""
    first = schedule.next_run_at
    if first is None or first > now or not (schedule.is_recurring or schedule.is_active):
        return None
    passed = missed(schedule.recurrence, first=first, now=max(first, min(now, schedule.ends_at or now)))
    return Passed(first, passed.latest, passed.earlier_count + 1)
