"""The dispatcher: finds what is due, writes each slot into the ledger, and moves the schedule on, in one transaction.

Any number may run at once. A batch's schedules are locked by `SKIP LOCKED`, and the ledger's unique slot makes a slot
that is found twice, say after a clock stepped back, a slot that is written once.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from uuid import UUID

import orjson
import structlog
from django.conf import settings
from django.db import DataError, connection, transaction

from commands_platform.lib import broker, clock
from commands_platform.lib.instants import format_instant
from deliveries import ledger
from deliveries.address_guard import origin_of
from deliveries.ledger import NewRow
from deliveries.models import Delivery, Kind, Reason
from deliveries.tasks import deliver_pending
from events import services as events
from scheduling.models import (
    FOREVER,
    DeactivationReason,
    MisfirePolicy,
    ScheduledExecution,
    TimezoneType,
    recurrence_of,
)
from scheduling.recurrence import Missed, Recurrence, missed, next_slot, slots

logger = structlog.get_logger(__name__)

# What `fire_all` fires after an outage; the slots before them are recorded.
MOST_MISFIRES = 100

# Of a herd whose payloads are large, a transaction takes as many as it can hold in memory.
_CLOCK_SKEW = timedelta(milliseconds=100)
_BATCH_BYTES = 4 * 1024 * 1024
# What one schedule that is late may fire in one pass; the next pass goes on with it, after the others.
_SLOTS_IN_A_PASS = 20

_CLAIM = """
WITH due AS (
    SELECT id, next_run_at, octet_length(payload) AS size FROM scheduling_scheduledexecution
    WHERE is_active AND next_run_at <= %(now)s
    ORDER BY next_run_at LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
), held AS (
    SELECT id, sum(size) OVER (ORDER BY next_run_at, id) - size AS before FROM due
)
SELECT s.id, s.uuid, s.name, s.cron, s.cron_seconds, s.dst_gap, s.dst_overlap, s.execution_frequency, s.repeats,
       s.payload, s.callback_url, s.timezone_type, s.timezone, s.anchor_at, s.next_run_at, s.ends_at,
       s.misfire_policy, s.misfire_grace, s.skip_overlapping, s.timeout, s.max_attempts, s.headers,
       s.organization_id, s.command_id, s.owner_id,
       o.uuid, o.timezone, o.is_active, c.uuid, c.name, c.callback_url, c.is_active AND co.is_active,
       c.organization_id = s.organization_id OR c.is_public, u.uuid, u.full_name, u.timezone, u.is_active
FROM held
JOIN scheduling_scheduledexecution s ON s.id = held.id AND held.before < %(bytes)s
JOIN organizations_organization o ON o.id = s.organization_id
JOIN organizations_command c ON c.id = s.command_id
JOIN organizations_organization co ON co.id = c.organization_id
LEFT JOIN organizations_user u ON u.id = s.owner_id
ORDER BY s.next_run_at, s.id
"""

_ADVANCE = """
UPDATE scheduling_scheduledexecution s
SET next_run_at = v.next_run_at, repeats = v.repeats, is_active = v.is_active, deactivation_reason = v.reason,
    updated_at = CASE WHEN v.is_active THEN s.updated_at ELSE %(now)s END
FROM json_to_recordset(%(schedules)s::json) AS v(
    id bigint, next_run_at timestamptz, repeats int, is_active bool, reason text
)
WHERE s.id = v.id
"""


@dataclass(frozen=True, slots=True)
class DueSchedule:
    """A schedule that is due, with what its callback tells of its organization, command and user."""

    id: int
    uuid: UUID
    name: str
    cron: str
    cron_seconds: bool
    dst_gap: str
    dst_overlap: str
    execution_frequency: int
    repeats: int
    payload: str
    own_callback_url: str
    timezone_type: str
    own_timezone: str
    anchor_at: datetime
    next_run_at: datetime
    ends_at: datetime | None
    misfire_policy: str
    misfire_grace: int
    skip_overlapping: bool
    timeout: int | None
    max_attempts: int | None
    headers: str
    organization_id: int
    command_id: int
    owner_id: int | None
    organization_uuid: UUID
    organization_timezone: str
    organization_is_active: bool
    command_uuid: UUID
    command_name: str
    command_callback_url: str
    command_is_active: bool
    command_may_act: bool
    user_uuid: UUID | None
    user_full_name: str | None
    user_timezone: str | None
    user_is_active: bool | None

    @property
    def callback_url(self) -> str:
        return self.own_callback_url or self.command_callback_url

    @property
    def zone(self) -> str:
        if self.timezone_type == TimezoneType.CUSTOM:
            return self.own_timezone
        if self.timezone_type == TimezoneType.USER and self.user_timezone:
            return self.user_timezone
        return self.organization_timezone

    def reason_to_skip(self) -> Reason | None:
        """Why a due slot of this schedule cannot be sent, if so."""
        if not self.organization_is_active:
            return Reason.ORGANIZATION_INACTIVE
        # A command that is no longer public acts for its own organization alone.
        if not (self.command_is_active and self.command_may_act):
            return Reason.COMMAND_INACTIVE
        if self.owner_id is not None and not self.user_is_active:
            return Reason.USER_INACTIVE
        if not self.callback_url:
            return Reason.NO_CALLBACK_URL
        return None


@dataclass(slots=True)
class _Batch:
    """What one transaction writes."""

    rows: list[NewRow] = field(default_factory=list)
    advanced: list[tuple[int, datetime | None, int, bool, str]] = field(default_factory=list)
    completed: list[DueSchedule] = field(default_factory=list)
    invalid: list[DueSchedule] = field(default_factory=list)
    still_late: bool = False


def dispatch_due() -> int:
    """Dispatches everything that is due now; how many ledger rows it wrote. Senders are told after each batch."""
    written = _dispatch_batches()
    if not written and _await_what_is_nearly_due():
        written = _dispatch_batches()
    if not written and Delivery.objects.due(clock.now()).exists():
        # Retries, what a dead sender held, and whatever a lost hint left behind.
        broker.send_hint(deliver_pending)
    return written


def _dispatch_batches() -> int:
    written = 0
    more = True
    while more:
        more, rows = dispatch_batch(clock.now())
        written += rows
        if rows:
            broker.send_hint(deliver_pending)
    return written


def _await_what_is_nearly_due() -> bool:
    """Waits for a slot that is due within a blink, if there is one: beat's clock may run ahead of the database's."""
    now = clock.now()
    soon = ScheduledExecution.objects.active().filter(next_run_at__gt=now, next_run_at__lte=now + _CLOCK_SKEW)
    next_run_at = soon.order_by("next_run_at").values_list("next_run_at", flat=True).first()
    if next_run_at is None:
        return False
    time.sleep((next_run_at - now).total_seconds())
    return True


@transaction.atomic
def dispatch_batch(now: datetime) -> tuple[bool, int]:
    """One batch; whether there may be more, and how many rows were written."""
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM, {"now": now, "limit": settings.DISPATCH_BATCH, "bytes": _BATCH_BYTES})
        schedules = [DueSchedule(*row) for row in cursor.fetchall()]
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
    ledger.insert(batch.rows, now=now)
    _advance(batch, now)
    _publish(batch, now)
    is_large = sum(len(schedule.payload) for schedule in schedules) >= _BATCH_BYTES // 4
    full = is_large or len(schedules) == settings.DISPATCH_BATCH
    return full or batch.still_late, len(batch.rows)


@dataclass(frozen=True, slots=True)
class _Plan:
    """What becomes of one due schedule: its rows, its next run (None: it is completed), and the repeats left."""

    rows: list[NewRow]
    following: datetime | None
    repeats: int


def _plan(schedule: DueSchedule, now: datetime, *, has_unfinished_run: bool) -> _Plan:
    """Decides on every slot from the schedule's next run on: a plain late one, or what an outage left behind."""
    recurrence = recurrence_of(schedule, zone=schedule.zone)
    first, grace = schedule.next_run_at, timedelta(seconds=schedule.misfire_grace)
    end = now if schedule.ends_at is None else min(now, schedule.ends_at)
    rows: list[NewRow] = []
    if now - first <= grace:
        fire = [first, *islice(slots(recurrence, after=first, until=end), _SLOTS_IN_A_PASS - 1)]
    elif schedule.misfire_policy == MisfirePolicy.SKIP:
        passed = missed(recurrence, first=first, now=max(first, min(end, now - grace)))
        return _finish_plan(schedule, recurrence, [_missed_row(schedule, first, passed)], after=passed.latest, fired=0)
    elif schedule.misfire_policy == MisfirePolicy.FIRE_ALL:
        skipped, fire = _latest_slots(recurrence, first, end, MOST_MISFIRES)
        rows.extend([_missed_row(schedule, first, skipped)] if skipped else [])
    else:
        passed = missed(recurrence, first=first, now=end)
        if passed.earlier_count:
            rows.append(
                skipped_row(schedule, first, Reason.MISSED, last_due_at=passed.earlier_last, count=passed.earlier_count)
            )
        fire = [passed.latest]
    skip = schedule.reason_to_skip()
    # Not "ends_at + grace": that may lie beyond the calendar.
    if schedule.ends_at is not None and now - schedule.ends_at > grace:
        skip = skip or Reason.OUTSIDE_WINDOW
    if schedule.skip_overlapping and has_unfinished_run:
        skip = skip or Reason.OVERLAP
    # Those beyond what one pass may hold are found late by the next pass.
    fire = fire[: max(1, min(_SLOTS_IN_A_PASS, _BATCH_BYTES // len(schedule.payload)))]
    if schedule.repeats != FOREVER:
        fire = fire[: schedule.repeats]
    sent = [] if skip else fire[:1] if schedule.skip_overlapping else fire
    rows.extend(pending_row(schedule, slot) for slot in sent)
    # Of several that are due together, the first is not finished while the others are.
    rows.extend(skipped_row(schedule, slot, skip or Reason.OVERLAP) for slot in fire[len(sent) :])
    return _finish_plan(schedule, recurrence, rows, after=fire[-1], fired=len(sent))


def _finish_plan(
    schedule: DueSchedule, recurrence: Recurrence, rows: list[NewRow], *, after: datetime, fired: int
) -> _Plan:
    repeats = schedule.repeats if schedule.repeats == FOREVER else schedule.repeats - fired
    following = next_slot(recurrence, after=after) if repeats != 0 else None
    if following is not None and schedule.ends_at is not None and following > schedule.ends_at:
        following = None
    return _Plan(rows, following, repeats)


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
    batch.rows.extend(plan.rows)
    if plan.following is None:
        batch.advanced.append((schedule.id, None, plan.repeats, False, DeactivationReason.COMPLETED))
        batch.completed.append(schedule)
    else:
        batch.advanced.append((schedule.id, plan.following, plan.repeats, True, ""))
        batch.still_late = batch.still_late or plan.following <= now


def _with_unfinished_runs(schedules: Sequence[DueSchedule]) -> set[UUID]:
    """Those that do not want overlapping runs and have a run that is still to be sent or tried again."""
    asked = [schedule.uuid for schedule in schedules if schedule.skip_overlapping]
    if not asked:
        return set()
    rows = Delivery.objects.pending().filter(source_uuid__in=asked)
    return set(rows.values_list("source_uuid", flat=True))


def _deactivate_invalid(batch: _Batch, schedule: DueSchedule) -> None:
    batch.rows.append(skipped_row(schedule, schedule.next_run_at, Reason.INVALID_SCHEDULE))
    batch.advanced.append((schedule.id, None, schedule.repeats, False, DeactivationReason.INVALID))
    batch.invalid.append(schedule)


def pending_row(schedule: DueSchedule, due_at: datetime, *, kind: Kind = Kind.SCHEDULED) -> NewRow:
    """The ledger row of a slot that is to be sent."""
    return NewRow(
        organization_id=schedule.organization_id,
        command_id=schedule.command_id,
        user_id=schedule.owner_id,
        kind=kind,
        source_uuid=schedule.uuid,
        due_at=due_at,
        url=schedule.callback_url,
        origin=origin_of(schedule.callback_url),
        body=callback_body(schedule, due_at),
        headers="" if schedule.headers == "{}" else schedule.headers,
        timeout=schedule.timeout,
        max_attempts=schedule.max_attempts,
    )


def skipped_row(
    schedule: DueSchedule, due_at: datetime, reason: Reason, *, last_due_at: datetime | None = None, count: int = 1
) -> NewRow:
    """The ledger row of a slot that is not sent, or of a run of `count` of them up to `last_due_at`."""
    return NewRow(
        organization_id=schedule.organization_id,
        command_id=schedule.command_id,
        user_id=schedule.owner_id,
        kind=Kind.SCHEDULED,
        source_uuid=schedule.uuid,
        due_at=due_at,
        skipped=reason,
        last_due_at=last_due_at if count > 1 else None,
        slot_count=count,
    )


def callback_body(schedule: DueSchedule, due_at: datetime) -> str:
    """The callback's body as it is stored: without the token and the attempt's number, which each sending fills in."""
    due = format_instant(due_at)
    return orjson.dumps(
        {
            "intent": schedule.command_name,
            "query": "",
            "event_timestamp": due,
            "organization_uuid": schedule.organization_uuid,
            "user_uuid": schedule.user_uuid,
            "user_full_name": schedule.user_full_name,
            "command_uuid": schedule.command_uuid,
            "exchange_token": None,
            "payload": orjson.Fragment(schedule.payload),
            "scheduled_execution": {"uuid": schedule.uuid, "name": schedule.name, "due_at": due, "attempt": 0},
        }
    ).decode()


def _advance(batch: _Batch, now: datetime) -> None:
    schedules = [
        {"id": id_, "next_run_at": following, "repeats": repeats, "is_active": is_active, "reason": reason}
        for id_, following, repeats, is_active, reason in batch.advanced
    ]
    with connection.cursor() as cursor:
        cursor.execute(_ADVANCE, {"now": now, "schedules": ledger.json_rows(schedules)})


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
