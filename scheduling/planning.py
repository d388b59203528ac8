"""Plans a due schedule: which of its slots are sent, which are skipped, and when it runs next.

These functions are pure: they know neither the database nor the clock. The dispatcher locks the schedules and writes
the plans.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import groupby, islice
from typing import NamedTuple
from uuid import UUID

from deliveries.models import Reason
from deliveries.sendable import origin_or_reason
from deliveries.turns import UnfinishedRuns
from scheduling.excluded_days import ExcludedDays, Part, is_excluded, parts
from scheduling.models import FOREVER, MisfirePolicy, OverlapPolicy, recurrence_of
from scheduling.recurrence import Missed, Recurrence, missed, next_slot, slots

# At most this many late or missed slots of a schedule run. Earlier ones are recorded as skipped.
MAX_MISFIRES = 100
# A schedule that is very late runs at most this many slots in one pass. It goes on in the next pass, after the others.
_MAX_SLOTS_IN_A_PASS = 20
_MOMENT = timedelta(microseconds=1)


class DueSchedule(NamedTuple):
    """Everything that a plan depends on: columns of the schedule, and of its organization, command and user."""

    id: int
    uuid: UUID
    name: str
    cron: str
    cron_seconds: bool
    dst_gap: str
    dst_overlap: str
    every: str
    exceptions: str
    execution_frequency: int
    spread: int
    repeats: int
    payload_bytes: int
    callback_url: str
    zone: str
    anchor_at: datetime
    next_run_at: datetime
    ends_at: datetime | None
    misfire_policy: str
    misfire_grace: int
    overlap: str
    organization_id: int
    command_id: int
    owner_id: int | None
    reason: str
    """The Reason why nothing can be sent for it now, or an empty string."""


class Slot(NamedTuple):
    """A slot to send, with its URL."""

    schedule_id: int
    due_at: datetime
    url: str
    origin: str


class SkippedSlots(NamedTuple):
    """Consecutive slots that are not sent, from `due_at` to `last_due_at`."""

    due_at: datetime
    last_due_at: datetime
    slot_count: int
    reason: Reason


class Plan(NamedTuple):
    """The plan for one schedule. Its next run is None if the schedule is completed."""

    slots: list[Slot]
    waiting: list[Slot]
    """At most one slot, which starts when the run before it has ended."""
    skipped: list[SkippedSlots]
    next_run_at: datetime | None
    repeats: int


def plan_due(
    schedule: DueSchedule,
    now: datetime,
    *,
    up_since: datetime,
    max_bytes: int,
    unfinished: UnfinishedRuns | None,
    excluded: ExcludedDays | None = None,
) -> Plan:
    """Plans the slots from the schedule's next run up to `now`, whether on time, late, or missed in an outage.

    `up_since` is the end of the latest outage. A slot was missed if it was due before that by more than the grace. The
    payloads of the slots take `max_bytes` together at most, but one slot is always planned. Slots on `excluded` days do
    not run, and use up no repeat. Raises InvalidInputError if the slots cannot be computed.
    """
    recurrence = recurrence_of(schedule, zone=schedule.zone)
    first, grace = schedule.next_run_at, timedelta(seconds=schedule.misfire_grace)
    end = now if schedule.ends_at is None else min(now, schedule.ends_at)
    skipped: list[SkippedSlots] = []
    last: datetime | None = None
    if up_since - first <= grace or schedule.misfire_policy == MisfirePolicy.FIRE_ALL:
        older, fire = _first_of_the_latest(recurrence, first, end)
        skipped.extend(_missed_slots(recurrence, excluded, first, older) if older else [])
    elif schedule.misfire_policy == MisfirePolicy.SKIP:
        passed = missed(recurrence, first=first, now=max(first, min(end, up_since - grace - _MOMENT)))
        next_run_at = _next_run(schedule, recurrence, passed.latest)
        return Plan([], [], _missed_slots(recurrence, excluded, first, passed), next_run_at, schedule.repeats)
    else:
        # Slots after the outage are late, and the next pass finds them.
        passed = missed(recurrence, first=first, now=max(first, min(end, up_since)))
        last = passed.latest
        fire, skipped = _latest_that_runs(recurrence, excluded, first, passed)
    origin, reason = origin_or_reason(schedule.callback_url, schedule.reason)
    # This does not compute "ends_at + grace", which may lie beyond the calendar.
    if schedule.ends_at is not None and up_since - schedule.ends_at > grace:
        reason = reason or Reason.OUTSIDE_WINDOW
    # The next pass finds the slots beyond the limits of this one, as late ones.
    fire = fire[: max(1, min(_MAX_SLOTS_IN_A_PASS, max_bytes // schedule.payload_bytes))]
    runs = fire if excluded is None else [slot for slot in fire if not is_excluded(slot, schedule.zone, excluded)]
    if schedule.repeats != FOREVER and len(runs) > schedule.repeats:
        runs = runs[: schedule.repeats]
        fire = fire[: fire.index(runs[-1]) + 1]
    if reason:
        sent, waiting, overlapping = 0, 0, []
        skipped.extend(SkippedSlots(slot, slot, 1, reason) for slot in runs)
    else:
        sent, waiting = _room(schedule.overlap, unfinished, len(runs))
        overlapping = runs[sent + waiting :]
    if overlapping or len(runs) < len(fire):
        skipped.extend(_excluded_or_overlapping(fire, runs, overlapping))
    repeats = schedule.repeats if schedule.repeats == FOREVER else schedule.repeats - sent - waiting
    next_run_at = _next_run(schedule, recurrence, last or fire[-1]) if repeats else None
    return Plan(
        _slots(schedule, runs[:sent], origin),
        _slots(schedule, runs[sent : sent + waiting], origin),
        skipped,
        next_run_at,
        repeats,
    )


def _excluded_or_overlapping(
    fire: Sequence[datetime], runs: Sequence[datetime], overlapping: Sequence[datetime]
) -> Iterator[SkippedSlots]:
    """Yields the slots that do not run, together as long as they have the same reason."""
    reasons: dict[datetime, Reason | None] = dict.fromkeys(fire, Reason.EXCLUDED)
    reasons |= dict.fromkeys(runs)
    reasons |= dict.fromkeys(overlapping, Reason.OVERLAP)
    for reason, group in groupby(fire, reasons.__getitem__):
        if reason is not None:
            slots_of_group = list(group)
            yield SkippedSlots(slots_of_group[0], slots_of_group[-1], len(slots_of_group), reason)


def _room(overlap: str, unfinished: UnfinishedRuns | None, count: int) -> tuple[int, int]:
    """Returns how many of `count` slots may be sent, and how many of the others may wait for a run to end.

    If several slots are due together, the first one already counts as an unfinished run for the others.
    """
    if overlap == OverlapPolicy.ALLOW:
        return count, 0
    is_one_waiting = unfinished is not None and unfinished.is_one_waiting
    is_free = unfinished is None or not (unfinished.is_one_being_sent or is_one_waiting)
    sent = min(count, 1) if is_free else 0
    may_wait = overlap == OverlapPolicy.QUEUE_ONE and not is_one_waiting
    return sent, min(count - sent, 1) if may_wait else 0


def plan_ahead(schedule: DueSchedule, due_at: datetime, *, excluded: ExcludedDays | None = None) -> Plan | None:
    """Plans a slot before its time. Returns None if its plan may still change until then.

    That is so for a slot that would be skipped now, and for the last slot. Raises InvalidInputError as `plan_due` does.
    """
    origin, reason = origin_or_reason(schedule.callback_url, schedule.reason)
    if reason or is_excluded(due_at, schedule.zone, excluded):
        return None
    next_run_at = _next_run(schedule, recurrence_of(schedule, zone=schedule.zone), due_at)
    if next_run_at is None:
        return None
    return Plan(_slots(schedule, [due_at], origin), [], [], next_run_at, schedule.repeats)


def _slots(schedule: DueSchedule, due_at: Sequence[datetime], origin: str) -> list[Slot]:
    return [Slot(schedule.id, slot, schedule.callback_url, origin) for slot in due_at]


def _next_run(schedule: DueSchedule, recurrence: Recurrence, after: datetime) -> datetime | None:
    slot = next_slot(recurrence, after=after)
    if slot is not None and schedule.ends_at is not None and slot > schedule.ends_at:
        return None
    return slot


def _first_of_the_latest(
    recurrence: Recurrence, first: datetime, end: datetime
) -> tuple[Missed | None, list[datetime]]:
    """Returns the older slots that are too many to run, if any, and the slots up to `end` to run."""
    fire = [first, *islice(slots(recurrence, after=first, until=end), _MAX_SLOTS_IN_A_PASS - 1)]
    if len(fire) < _MAX_SLOTS_IN_A_PASS:
        return None, fire
    return _latest_slots(recurrence, first, end, MAX_MISFIRES)


def _latest_slots(
    recurrence: Recurrence, first: datetime, end: datetime, count: int
) -> tuple[Missed | None, list[datetime]]:
    """Returns the older slots, if any, and the latest `count` up to `end`. It does not walk over the older ones."""
    whole = missed(recurrence, first=first, now=end)
    surplus = whole.earlier_count + 1 - count
    if surplus <= 0:
        return None, [first, *slots(recurrence, after=first, until=end)]
    low, high = first, end
    while high - low > timedelta(seconds=1):
        middle = low + (high - low) / 2
        if missed(recurrence, first=first, now=middle).earlier_count + 1 <= surplus:
            low = middle
        else:
            high = middle
    skipped = missed(recurrence, first=first, now=low)
    return skipped, list(slots(recurrence, after=skipped.latest, until=end))


def _latest_that_runs(
    recurrence: Recurrence, excluded: ExcludedDays | None, first: datetime, passed: Missed
) -> tuple[list[datetime], list[SkippedSlots]]:
    """Divides missed slots into the latest one that is not excluded, if there is one, and the others."""
    if excluded is None:
        earlier = passed.earlier_last
        return [passed.latest], [SkippedSlots(first, earlier, passed.earlier_count, Reason.MISSED)] if earlier else []
    divided = list(parts(recurrence, excluded, first=first, last=passed.latest))
    running = max((number for number, part in enumerate(divided) if not part.is_excluded), default=None)
    if running is None:
        return [], [_skipped_part(each) for each in divided]
    part = divided[running]
    of_part = missed(recurrence, first=part.first, now=part.last)
    skipped = [_skipped_part(each) for each in divided[:running]]
    if of_part.earlier_last is not None:
        skipped.append(SkippedSlots(part.first, of_part.earlier_last, of_part.earlier_count, Reason.MISSED))
    return [part.last], [*skipped, *(_skipped_part(each) for each in divided[running + 1 :])]


def _missed_slots(
    recurrence: Recurrence, excluded: ExcludedDays | None, first: datetime, passed: Missed
) -> list[SkippedSlots]:
    if excluded is None:
        return [SkippedSlots(first, passed.latest, passed.earlier_count + 1, Reason.MISSED)]
    return [_skipped_part(part) for part in parts(recurrence, excluded, first=first, last=passed.latest)]


def _skipped_part(part: Part) -> SkippedSlots:
    reason = Reason.EXCLUDED if part.is_excluded else Reason.MISSED
    return SkippedSlots(part.first, part.last, part.slot_count, reason)
