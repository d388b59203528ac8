"""The dispatcher: finds what is due, writes each slot into the ledger, and moves the schedule on, in one transaction.

Any number may run at once. A batch's schedules are locked by `SKIP LOCKED`, and the ledger's unique slot makes a slot
that is found twice, say after a clock stepped back, a slot that is written once.

Of schedules that go on for ever, the slots of a whole second are written shortly before it, so that it begins with
sending. No sender claims a row before its time, and whoever changes such a schedule withdraws the row first.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import islice
from typing import NamedTuple
from uuid import UUID

import structlog
from django.conf import settings
from django.db import DataError, transaction
from django.db.models import Q

from commands_platform.lib import broker, clock
from commands_platform.lib.database.statements import execute
from deliveries import ledger, queue
from deliveries.ledger import NewRow
from deliveries.models import Delivery, Reason
from deliveries.tasks import deliver_pending
from events import services as events
from outbound.address_guard import origin_of
from scheduling import zone_rules
from scheduling.due import DueSchedule, Slot, claim_ahead, claim_due, due_in_turns, insert_slots, skipped_row
from scheduling.models import FOREVER, DeactivationReason, MisfirePolicy, ScheduledExecution, recurrence_of
from scheduling.recurrence import Missed, Recurrence, missed, next_slot, slots

logger = structlog.get_logger(__name__)

# What `fire_all` fires after an outage; the slots before them are recorded.
MOST_MISFIRES = 100

# How long before its second a tick may come, and how long before it beat sends one.
_TICK_AHEAD, _TICK_LEAD = timedelta(milliseconds=250), timedelta(milliseconds=20)
# What has just become due may not have been yet when it was looked for, or was held by somebody.
_LOOK_BACK = timedelta(milliseconds=250)
# When slots may be written ahead of a whole second; it ends before the tick of that second.
_AHEAD_FROM, _AHEAD_UNTIL = timedelta(milliseconds=800), timedelta(milliseconds=50)
_AHEAD_BATCH = 500
# Deliveries for which one more sender is woken, and how many senders are.
_DELIVERIES_PER_HINT, _MOST_HINTS = 100, 8
_FIRST_BATCH = 50
_HERD_OLDEST, _HERD_NEWEST = 4_000, 1_000
# Of a herd whose payloads are large, a transaction takes as many as this.
_BATCH_BYTES = 4 * 1024 * 1024
# What one schedule that is late may fire in one pass; the next pass goes on with it, after the others.
_SLOTS_IN_A_PASS = 20

_ADVANCE = """
UPDATE scheduling_scheduledexecution s SET next_run_at = v.next_run_at, repeats = v.repeats
FROM unnest(%(ids)b::bigint[], %(next_run_at)b::timestamptz[], %(repeats)b::int[]) AS v(id, next_run_at, repeats)
WHERE s.id = v.id
"""

_END = """
UPDATE scheduling_scheduledexecution s
SET is_active = false, next_run_at = NULL, repeats = v.repeats, deactivation_reason = v.reason, updated_at = %(now)s
FROM unnest(%(ids)b::bigint[], %(repeats)b::int[], %(reasons)b::text[]) AS v(id, repeats, reason)
WHERE s.id = v.id
"""


@dataclass(slots=True)
class _Batch:
    """What one transaction writes."""

    slots: list[Slot] = field(default_factory=list)
    skipped: list[NewRow] = field(default_factory=list)
    advanced: list[tuple[int, datetime, int]] = field(default_factory=list)
    ended: list[tuple[int, int, DeactivationReason]] = field(default_factory=list)
    completed: list[DueSchedule] = field(default_factory=list)
    invalid: list[DueSchedule] = field(default_factory=list)
    still_late: bool = False


def tick() -> int:
    """Dispatches what is due when the next second begins; how many ledger rows it wrote.

    Beat asks for it a little earlier. Until then the senders wake up, and what is late is dispatched. A tick that is
    far from the next second, because it is late or because clocks differ, is one of the present second.
    """
    now, asked_at = clock.now(), time.monotonic()
    second = _second_after(now)
    if second - now > _TICK_AHEAD:
        written = _dispatch_batches()
        _wake_senders()
        return written
    is_anything_coming = ScheduledExecution.objects.active().filter(next_run_at__gt=now, next_run_at__lte=second)
    if not _wake_senders(until=second) and is_anything_coming.exists():
        broker.send_hint(deliver_pending)
    written = _dispatch_batches()
    time.sleep(max(0.0, asked_at + (second - now).total_seconds() - time.monotonic()))
    return written + dispatch_due()


def dispatch_due() -> int:
    """Dispatches everything that is due now; how many ledger rows it wrote. Senders are told after each batch."""
    written = _dispatch_batches()
    if not written:
        # For retries, what a dead sender held, whatever a lost hint left behind, and senders whose clocks differ.
        _wake_senders(most=1)
    return written


def time_to_next_slot() -> timedelta | None:
    """How long it is until a slot that lies between two ticks; None where the next tick comes before any slot."""
    now = clock.now()
    between = Q(next_run_at__gt=now - _LOOK_BACK, next_run_at__lt=_second_after(now) - _TICK_LEAD)
    following = ScheduledExecution.objects.active().filter(between).order_by("next_run_at")
    next_run_at = following.values_list("next_run_at", flat=True).first()
    return None if next_run_at is None else max(timedelta(), next_run_at - now)


def _wake_senders(*, until: datetime | None = None, most: int = _MOST_HINTS) -> int:
    """Sends hints to as many as there is work for, now or soon, `most` at most; how many."""
    deliveries = queue.count_due(until=until, most=most * _DELIVERIES_PER_HINT)
    hints = range(0, deliveries, _DELIVERIES_PER_HINT)
    for _ in hints:
        broker.send_hint(deliver_pending)
    return len(hints)


def _second_after(now: datetime) -> datetime:
    return now.replace(microsecond=0) + timedelta(seconds=1)


def dispatch_ahead() -> int:
    """Writes slots of the whole second that is about to begin; how many ledger rows it wrote."""
    written, now = 0, clock.now()
    second = _second_after(now)
    left: list[int] = []
    while _AHEAD_UNTIL < second - now <= _AHEAD_FROM:
        rows, left_now = dispatch_batch_ahead(now, due_at=second, left=left, limit=_AHEAD_BATCH)
        if not rows and not left_now:
            break
        left += left_now
        # Nobody waits for a herd that is not even due.
        written += rows + _dispatch_batches()
        now = clock.now()
    if written:
        zone_rules.note_use()
    return written


def _dispatch_batches() -> int:
    # A small one first: the senders have begun while the bulk of a herd is being written.
    more, written = _dispatch(limit=min(_FIRST_BATCH, settings.DISPATCH_BATCH))
    while more:
        more = False
        # A receiver for which very many are due must not make those of the others wait until they are written.
        for ids in _growing(due_in_turns(now=clock.now(), oldest=_HERD_OLDEST, newest=_HERD_NEWEST)):
            _, rows = _dispatch(limit=len(ids), ids=ids)
            # Another dispatcher may have taken some of them: that none is left is known when none is found.
            more = more or rows > 0
            written += rows
    if written:
        zone_rules.note_use()
    return written


def _growing(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    begin, size = 0, 2 * _FIRST_BATCH
    while begin < len(ids):
        size = min(size, settings.DISPATCH_BATCH)
        yield ids[begin : begin + size]
        begin, size = begin + size, size * 2


def _dispatch(*, limit: int, ids: Sequence[int] | None = None) -> tuple[bool, int]:
    more, rows = dispatch_batch(clock.now(), limit=limit, ids=ids)
    if rows:
        broker.send_hint(deliver_pending)
    return more, rows


@transaction.atomic
def dispatch_batch(now: datetime, *, limit: int, ids: Sequence[int] | None = None) -> tuple[bool, int]:
    """One batch of up to `limit` schedules, of these or of all; whether there may be more, and the number of rows."""
    schedules = claim_due(now=now, limit=limit, ids=ids, most_bytes=_BATCH_BYTES)
    if not schedules:
        return False, 0
    unfinished = _with_unfinished_runs(schedules)
    batch = _Batch()
    for schedule in schedules:
        try:
            plan = _plan(schedule, now, has_unfinished_run=schedule.uuid in unfinished)
        except Exception:
            # A schedule that cannot be planned must not stop the others.
            logger.exception("schedule_invalid", schedule=str(schedule.uuid))
            _deactivate_invalid(batch, schedule)
        else:
            _apply(batch, schedule, plan, now)
    insert_slots(batch.slots, now=now)
    ledger.insert(batch.skipped, now=now)
    _advance(batch, now)
    _publish(batch, now)
    is_large = sum(schedule.payload_bytes for schedule in schedules) >= _BATCH_BYTES // 4
    full = is_large or len(schedules) == limit
    return full or batch.still_late, len(batch.slots) + len(batch.skipped)


@transaction.atomic
def dispatch_batch_ahead(
    now: datetime, *, due_at: datetime, limit: int, left: Sequence[int] = ()
) -> tuple[int, list[int]]:
    """Writes up to `limit` slots that will be due at `due_at`; how many, and the schedules that are left to the tick.

    Left, and from then on not looked at, is what anything but its time may still decide on: slots that would be skipped
    now, last ones, invalid schedules.
    """
    batch, left_now = _Batch(), []
    for schedule in claim_ahead(due_at=due_at, left=list(left), limit=limit, most_bytes=_BATCH_BYTES):
        following = None
        # What cannot be planned is met again at its time, and told then.
        with suppress(Exception):
            following = _following(schedule, recurrence_of(schedule, zone=schedule.zone), due_at)
        if following is None or schedule.skip:
            left_now.append(schedule.id)
        else:
            _apply(batch, schedule, _Plan(_slots_to(schedule, [due_at]), [], following, schedule.repeats), now)
    insert_slots(batch.slots, now=now)
    _advance(batch, now)
    return len(batch.slots), left_now


class _Plan(NamedTuple):
    """What becomes of one due schedule: its rows, its next run (None: it is completed), and the repeats left."""

    slots: list[Slot]
    skipped: list[NewRow]
    following: datetime | None
    repeats: int


def _plan(schedule: DueSchedule, now: datetime, *, has_unfinished_run: bool) -> _Plan:
    """Decides on every slot from the schedule's next run on: a plain late one, or what an outage left behind."""
    recurrence = recurrence_of(schedule, zone=schedule.zone)
    first, grace = schedule.next_run_at, timedelta(seconds=schedule.misfire_grace)
    end = now if schedule.ends_at is None else min(now, schedule.ends_at)
    skipped: list[NewRow] = []
    if now - first <= grace:
        fire = [first, *islice(slots(recurrence, after=first, until=end), _SLOTS_IN_A_PASS - 1)]
    elif schedule.misfire_policy == MisfirePolicy.SKIP:
        passed = missed(recurrence, first=first, now=max(first, min(end, now - grace)))
        following = _following(schedule, recurrence, passed.latest)
        return _Plan([], [_missed_row(schedule, first, passed)], following, schedule.repeats)
    elif schedule.misfire_policy == MisfirePolicy.FIRE_ALL:
        older, fire = _latest_slots(recurrence, first, end, MOST_MISFIRES)
        skipped.extend([_missed_row(schedule, first, older)] if older else [])
    else:
        passed = missed(recurrence, first=first, now=end)
        if passed.earlier_count:
            skipped.append(
                skipped_row(schedule, first, Reason.MISSED, last_due_at=passed.earlier_last, count=passed.earlier_count)
            )
        fire = [passed.latest]
    reason = Reason(schedule.skip) if schedule.skip else None
    # Not "ends_at + grace": that may lie beyond the calendar.
    if schedule.ends_at is not None and now - schedule.ends_at > grace:
        reason = reason or Reason.OUTSIDE_WINDOW
    if schedule.skip_overlapping and has_unfinished_run:
        reason = reason or Reason.OVERLAP
    # Those beyond what one pass may hold are found late by the next pass.
    fire = fire[: max(1, min(_SLOTS_IN_A_PASS, _BATCH_BYTES // schedule.payload_bytes))]
    if schedule.repeats != FOREVER:
        fire = fire[: schedule.repeats]
    sent = [] if reason else fire[:1] if schedule.skip_overlapping else fire
    # Of several that are due together, the first is not finished while the others are.
    skipped.extend(skipped_row(schedule, slot, reason or Reason.OVERLAP) for slot in fire[len(sent) :])
    repeats = schedule.repeats if schedule.repeats == FOREVER else schedule.repeats - len(sent)
    following = _following(schedule, recurrence, fire[-1]) if repeats else None
    return _Plan(_slots_to(schedule, sent), skipped, following, repeats)


def _slots_to(schedule: DueSchedule, due_at: Sequence[datetime]) -> list[Slot]:
    if not due_at:
        return []
    origin = _origin_of(schedule.callback_url)
    return [Slot(schedule.id, slot, schedule.callback_url, origin) for slot in due_at]


_origin_of = lru_cache(maxsize=4096)(origin_of)


def _following(schedule: DueSchedule, recurrence: Recurrence, after: datetime) -> datetime | None:
    following = next_slot(recurrence, after=after)
    if following is not None and schedule.ends_at is not None and following > schedule.ends_at:
        return None
    return following


def _latest_slots(
    recurrence: Recurrence, first: datetime, end: datetime, most: int
) -> tuple[Missed | None, list[datetime]]:
    """The latest `most` slots up to `end`, and what was missed before them, found without walking over all of those."""
    whole = missed(recurrence, first=first, now=end)
    surplus = whole.earlier_count + 1 - most
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


def _missed_row(schedule: DueSchedule, first: datetime, passed: Missed) -> NewRow:
    return skipped_row(schedule, first, Reason.MISSED, last_due_at=passed.latest, count=passed.earlier_count + 1)


def _apply(batch: _Batch, schedule: DueSchedule, plan: _Plan, now: datetime) -> None:
    batch.slots.extend(plan.slots)
    batch.skipped.extend(plan.skipped)
    if plan.following is None:
        batch.ended.append((schedule.id, plan.repeats, DeactivationReason.COMPLETED))
        batch.completed.append(schedule)
    else:
        batch.advanced.append((schedule.id, plan.following, plan.repeats))
        batch.still_late = batch.still_late or plan.following <= now


def _with_unfinished_runs(schedules: Sequence[DueSchedule]) -> set[UUID]:
    """Those that do not want overlapping runs and have a run that is still to be sent or tried again."""
    asked = [schedule.uuid for schedule in schedules if schedule.skip_overlapping]
    if not asked:
        return set()
    rows = Delivery.objects.pending().filter(source_uuid__in=asked)
    return set(rows.values_list("source_uuid", flat=True))


def _deactivate_invalid(batch: _Batch, schedule: DueSchedule) -> None:
    batch.skipped.append(skipped_row(schedule, schedule.next_run_at, Reason.INVALID_SCHEDULE))
    batch.ended.append((schedule.id, schedule.repeats, DeactivationReason.INVALID))
    batch.invalid.append(schedule)


def _advance(batch: _Batch, now: datetime) -> None:
    if batch.advanced:
        ids, following, repeats = zip(*batch.advanced, strict=True)
        execute(_ADVANCE, {"ids": list(ids), "next_run_at": list(following), "repeats": list(repeats)})
    if batch.ended:
        ids, repeats, reasons = zip(*batch.ended, strict=True)
        execute(_END, {"ids": list(ids), "repeats": list(repeats), "reasons": list(reasons), "now": now})


def _publish(batch: _Batch, now: datetime) -> None:
    occurrences = [
        *_occurrences("platform.schedule.completed", batch.completed, DeactivationReason.COMPLETED, now),
        *_occurrences("platform.schedule.deactivated", batch.invalid, DeactivationReason.INVALID, now),
    ]
    if not occurrences:
        return
    try:
        with transaction.atomic():
            events.publish_all(occurrences)
    except DataError:
        # That a schedule has ended is worth an event, and not worth stopping the others.
        logger.exception("event_not_published", count=len(occurrences))


def _occurrences(
    name: str, schedules: Iterable[DueSchedule], reason: DeactivationReason, now: datetime
) -> Iterable[events.Occurrence]:
    for schedule in schedules:
        yield events.Occurrence(
            organization_id=schedule.organization_id,
            name=name,
            body={"schedule_uuid": str(schedule.uuid), "name": schedule.name, "reason": reason},
            object_id=str(schedule.uuid),
            occurred_at=now,
        )
