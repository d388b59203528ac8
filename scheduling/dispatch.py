"""The dispatcher: writes due slots to the ledger and moves their schedules on, in one transaction for each batch.

Any number of dispatchers may run at once, because each locks its schedules with `SKIP LOCKED`. Slots are unique in the
ledger, so a slot that is found twice, for example after a clock has stepped back, is written once.

If a slot falls on a whole second and its schedule has no end, it is written just before that second, so that sending
starts on time. No sender claims a row before its time, and a change to the schedule withdraws the row first.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from django.conf import settings
from django.db import Error, transaction
from django.db.models import Q

from commands_platform.lib import broker, clock
from commands_platform.lib.database.availability import is_away
from deliveries import queue
from deliveries.pacing import rush_left, until_second
from deliveries.tasks import deliver_pending
from deliveries.turns import UnfinishedRuns, start_waiting_runs, unfinished_runs
from scheduling import uptime, zone_rules
from scheduling.ahead import ComingSlots, second_after
from scheduling.backoff import process_backoff
from scheduling.batch import MAX_BATCH_BYTES, Batch
from scheduling.calendars import ExclusionsOf
from scheduling.due import lock_due
from scheduling.errors import InvalidCronError, InvalidTimezoneError
from scheduling.herd import due_in_turns
from scheduling.models import OverlapPolicy, ScheduledExecution
from scheduling.planning import DueSchedule, plan_due

logger = structlog.get_logger(__name__)

# A tick may come this long before its second, and beat sends it this long before.
_TICK_AHEAD, _TICK_LEAD = timedelta(milliseconds=250), timedelta(milliseconds=20)
# The last look may have been too early for a slot that has just become due, or its schedule may have been locked.
_LOOK_BACK = timedelta(milliseconds=250)
_DELIVERIES_PER_HINT, _MAX_HINTS = 100, 8
_FIRST_BATCH = 50
_MAX_STARTED = 1_000
_HERD_OLDEST, _HERD_NEWEST = 4_000, 1_000
# A dispatcher that has written this many slots without a break asks another one to help.
_MIN_HERD = 500

_Ask = Callable[[], object]


def _ask_nobody() -> None:
    pass


def tick(*, ask_for_help: _Ask = _ask_nobody) -> int:
    """Dispatches everything that is due when the next second begins. Returns the number of ledger rows written.

    Beat sends the tick a little early. Until the second begins, late slots are dispatched and senders are woken. If the
    next second is still far away, because the tick is late or clocks differ, it dispatches what is due now.
    """
    now, asked_at = clock.now(), time.monotonic()
    second = second_after(now)
    if second - now > _TICK_AHEAD:
        written = _write_everything_due(ask_for_help)
        _wake_senders()
        return written
    is_anything_coming = ScheduledExecution.objects.active().filter(next_run_at__gt=now, next_run_at__lte=second)
    if not _wake_senders(until=second) and is_anything_coming.exists():
        broker.send_hint(deliver_pending)
    written = _write_everything_due(ask_for_help)
    time.sleep(max(0.0, asked_at + (second - now).total_seconds() - time.monotonic()))
    return written + dispatch_due(ask_for_help=ask_for_help)


def dispatch_due(*, ask_for_help: _Ask = _ask_nobody) -> int:
    """Dispatches everything that is due now. Returns the number of ledger rows written."""
    started = start_waiting_runs(limit=_MAX_STARTED)
    written = _write_everything_due(ask_for_help)
    if started or not written:
        # This helps with retries, rows of dead senders, rows whose hint was lost, and senders whose clocks differ.
        _wake_senders(max_hints=1)
    return written


def dispatch_ahead(*, ask_for_help: _Ask = _ask_nobody) -> int:
    """Writes the slots of the whole second that is about to begin. Returns the number of ledger rows written."""
    coming, written, has_asked = ComingSlots(), 0, False
    while rows := coming.write_batch():
        # Slots that are due must not wait for a herd that is not due yet.
        written += rows + _write_everything_due(ask_for_help, coming)
        if written >= _MIN_HERD and not has_asked:
            ask_for_help()
            has_asked = True
    if written:
        zone_rules.note_use()
    return written


def help_with_herd(*, ask_for_help: _Ask = _ask_nobody) -> int:
    """Writes slots that are due or will be in a moment, beside the dispatcher that has asked for help.

    Returns the number of ledger rows written.
    """
    return dispatch_ahead(ask_for_help=ask_for_help) + _write_everything_due(ask_for_help)


def time_to_next_slot() -> timedelta | None:
    """Returns the time until the next slot, or None if no slot comes before the next tick."""
    now = clock.now()
    between = Q(next_run_at__gt=now - _LOOK_BACK, next_run_at__lt=second_after(now) - _TICK_LEAD)
    following = ScheduledExecution.objects.active().filter(between).order_by("next_run_at")
    next_run_at = following.values_list("next_run_at", flat=True).first()
    return None if next_run_at is None else max(timedelta(), next_run_at - now)


def _wake_senders(*, until: datetime | None = None, max_hints: int = _MAX_HINTS) -> int:
    """Wakes one sender for each hundred deliveries that are due by `until` or now. Returns the number of hints."""
    deliveries = queue.count_due(until=until, most=max_hints * _DELIVERIES_PER_HINT)
    hints = range(0, deliveries, _DELIVERIES_PER_HINT)
    for _ in hints:
        broker.send_hint(deliver_pending)
    return len(hints)


def _write_everything_due(ask_for_help: _Ask, coming: ComingSlots | None = None) -> int:
    """Writes batches until nothing is due, and wakes a sender after each. Returns the number of ledger rows written.

    Between two batches of a herd it writes `coming` slots, so those of other schedules are in time.
    """
    coming, has_asked = coming or ComingSlots(), False
    # The first batch is small, so that senders can start while the rest of a herd is being written.
    more, written = _write_and_wake_sender(limit=min(_FIRST_BATCH, settings.DISPATCH_BATCH))
    while more:
        more, second = False, second_after(clock.now())
        # An organization or a receiver with very many due slots must not delay the slots of the others.
        in_turns = _due_in_turns()
        for number, ids in enumerate(_growing_portions(in_turns)):
            if number and coming.are_due():
                # This backlog is late anyway, and must not delay those slots.
                time.sleep(min(rush_left(), until_second()))
            if number and second_after(clock.now()) != second:
                # Slots of the new second come first in a new round.
                more = True
                break
            _, rows = _write_and_wake_sender(limit=len(ids), ids=ids)
            # Another dispatcher may have taken some of them, so we stop only after a round that wrote nothing.
            more = more or rows > 0
            written += rows + coming.write_batch()
            if written >= _MIN_HERD and not has_asked:
                ask_for_help()
                has_asked = True
        if in_turns and not more:
            # Somebody may have locked all of these, and they must not hide the others.
            _, rows = _write_and_wake_sender(limit=settings.DISPATCH_BATCH)
            more = rows > 0
            written += rows
    if written:
        zone_rules.note_use()
    return written


def _growing_portions(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    begin, size = 0, 2 * _FIRST_BATCH
    while begin < len(ids):
        size = min(size, settings.DISPATCH_BATCH)
        yield ids[begin : begin + size]
        begin, size = begin + size, size * 2


def _write_and_wake_sender(*, limit: int, ids: Sequence[int] | None = None) -> tuple[bool, int]:
    try:
        more, rows = write_due_batch(clock.now(), limit=limit, ids=ids)
    except Error as error:
        if is_away(error):
            raise
        refused = _due_in_turns()[:limit] if ids is None else ids
        if not refused:
            # No schedule is to blame.
            raise
        more, rows = True, _write_in_smaller_parts(refused)
    if rows:
        broker.send_hint(deliver_pending)
    return more, rows


def _due_in_turns() -> list[int]:
    return due_in_turns(
        now=clock.now(), oldest=_HERD_OLDEST, newest=_HERD_NEWEST, postponed=process_backoff().postponed()
    )


def _write_in_smaller_parts(ids: Sequence[int]) -> int:
    """Writes a batch that the database refused in ever smaller parts. Returns the number of ledger rows written.

    If the database refuses a single schedule, that schedule is postponed.
    """
    try:
        return write_due_batch(clock.now(), limit=len(ids), ids=ids)[1] if ids else 0
    except Error as error:
        if is_away(error):
            raise
        if len(ids) == 1:
            # The message is not logged, because it may hold the row with its payload.
            logger.error("schedule_not_dispatched", schedule_id=ids[0], error=type(error).__name__)
            process_backoff().postpone(ids[0])
            return 0
    middle = len(ids) // 2
    return _write_in_smaller_parts(ids[:middle]) + _write_in_smaller_parts(ids[middle:])


def write_due_batch(now: datetime, *, limit: int, ids: Sequence[int] | None = None) -> tuple[bool, int]:
    """Plans and writes up to `limit` due schedules, only those of `ids` if given, in one transaction.

    Returns whether more may be due, and the number of ledger rows written.
    """
    with uptime.look(now) as up_since, transaction.atomic():
        postponed = process_backoff().postponed()
        schedules = lock_due(now=now, limit=limit, ids=ids, max_bytes=MAX_BATCH_BYTES, postponed=postponed)
        if not schedules:
            return False, 0
        batch = _plan_batch(schedules, now, up_since)
        rows = batch.write(now)
    is_large = sum(schedule.payload_bytes for schedule in schedules) >= MAX_BATCH_BYTES // 4
    return is_large or len(schedules) == limit or batch.has_more_due, rows


def _plan_batch(schedules: Sequence[DueSchedule], now: datetime, up_since: datetime) -> Batch:
    unfinished, exclusions = _unfinished_runs(schedules), ExclusionsOf(schedules)
    backoff, batch = process_backoff(), Batch()
    for schedule in schedules:
        try:
            plan = plan_due(
                schedule,
                now,
                up_since=up_since,
                max_bytes=MAX_BATCH_BYTES,
                unfinished=unfinished.get(schedule.uuid),
                excluded=exclusions.days_of(schedule),
            )
        except Exception as error:
            # A schedule that cannot be planned must not stop the others.
            if _is_for_good(error):
                logger.error(
                    "schedule_invalid", schedule=schedule.name, error=str(error), schedule_uuid=str(schedule.uuid)
                )
                batch.add_invalid(schedule)
            else:
                logger.exception("schedule_not_planned", schedule=schedule.name, schedule_uuid=str(schedule.uuid))
                backoff.postpone(schedule.id)
        else:
            backoff.forget(schedule.id)
            batch.add(schedule, plan, now)
    return batch


def _is_for_good(error: Exception) -> bool:
    """Returns whether the schedule itself is invalid. After any other error it is tried again.

    A zone that this process does not know may be part of the newer rules of another process.
    """
    return isinstance(error, InvalidCronError) or (isinstance(error, InvalidTimezoneError) and zone_rules.are_newest())


def _unfinished_runs(schedules: Sequence[DueSchedule]) -> dict[UUID, UnfinishedRuns]:
    """Returns the unfinished runs of those schedules whose runs may not overlap."""
    asked = [schedule.uuid for schedule in schedules if schedule.overlap != OverlapPolicy.ALLOW]
    return unfinished_runs(asked) if asked else {}
