"""Finds schedules whose callbacks have failed for too long, by a walk over the latest failures, and deactivates them.

Deliverers take no part in this: they only record the outcome in the ledger. The walk starts again when it is through,
so a schedule that it has to skip, because somebody holds its row, is found again.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Sum

from audit.kinds import Verb
from audit.services import record
from audit.subjects import values_of
from commands_platform.lib import clock
from commands_platform.lib.database.identifiers import first_ledger_id_at
from commands_platform.lib.errors import InvalidInputError
from deliveries.ledger import default_attempts
from deliveries.models import Delivery, Kind, Reason, State
from deliveries.retry_policy import longest_last_wait
from deliveries.services import cancel_pending
from scheduling.announcements import announce_deactivated
from scheduling.due import withdraw_ahead
from scheduling.models import MAX_SCHEDULE_ATTEMPTS, DeactivationReason, ScheduledExecution
from scheduling.recurrence import missed

_FAILURES_AT_ONCE = 500
_MAX_SECONDS_AT_ONCE = 0.2

# Finds a schedule if it was already failing a day before its last failure, and nothing was delivered since. The cheaper
# step comes first, and both walk along the index of slots. Most schedules drop out at the first step, because the slot
# of a day before was delivered. The second step may take long, as it walks over a day of retries, but only schedules
# that have failed for a day without a success reach it.
_FAILING = """
SELECT s.id, s.effective_from, before.due_at
FROM unnest(%(sources)s::uuid[], %(begun_before)s::timestamptz[])
    AS failed(source_uuid, begun_before)
JOIN scheduling_scheduledexecution s ON s.uuid = failed.source_uuid AND s.is_active
JOIN LATERAL (
    SELECT d.due_at, d.state FROM deliveries_finished d
    WHERE d.source_uuid = s.uuid AND d.kind = 'scheduled' AND d.state IN ('delivered', 'failed')
      AND d.due_at >= s.effective_from AND d.due_at <= failed.begun_before
    ORDER BY d.due_at DESC LIMIT 1
) before ON before.state = 'failed'
LEFT JOIN LATERAL (
    SELECT d.due_at FROM deliveries_finished d
    WHERE d.source_uuid = s.uuid AND d.kind = 'scheduled' AND d.state = 'delivered' AND d.due_at > before.due_at
    ORDER BY d.due_at DESC LIMIT 1
) success ON true
WHERE success.due_at IS NULL
"""


@dataclass(slots=True)
class _Walk:
    """The position of the walk, in the order in which rows were written."""

    last_id: UUID | None = None

    def next_failures(self) -> tuple[dict[UUID, datetime], bool]:
        """Returns the last failure of each schedule in the next portion, and whether the walk is through."""
        after = self.last_id or first_ledger_id_at(clock.now() - _longest_life())
        failed = Delivery.objects.failed().filter(pk__gt=after).order_by("pk")
        rows = list(failed.values_list("pk", "source_uuid", "kind", "finished_at")[:_FAILURES_AT_ONCE])
        is_through = len(rows) < _FAILURES_AT_ONCE
        self.last_id = None if is_through else rows[-1][0]
        found: dict[UUID, datetime] = {}
        for _, source, kind, failed_at in rows:
            if kind == Kind.SCHEDULED and failed_at is not None:
                found[source] = max(failed_at, found.get(source, failed_at))
        return found, is_through


@cache
def _process_walk() -> _Walk:
    return _Walk()


def _longest_life() -> timedelta:
    """Returns how old a row may be when it fails, plus a day in which the walk reaches it."""
    waits = sum(settings.DELIVERY_RETRY_DELAYS, timedelta())
    extra_attempts = max(0, MAX_SCHEDULE_ATTEMPTS - default_attempts())
    extra_waits = extra_attempts * longest_last_wait(settings.DELIVERY_RETRY_DELAYS)
    return settings.DELIVERY_EXPIRES_AFTER + 2 * waits + extra_waits + timedelta(days=1)


def deactivate_failing() -> int:
    """Walks on for a fraction of a second, by one portion at least. Returns the number of schedules deactivated."""
    if not settings.SCHEDULE_DEACTIVATE_AFTER_FAILURES:
        return 0
    count = 0
    ends_at = time.monotonic() + _MAX_SECONDS_AT_ONCE
    while True:
        failures, is_through = _process_walk().next_failures()
        count += _deactivate_failing_of(failures) if failures else 0
        if is_through or time.monotonic() >= ends_at:
            return count


def _deactivate_failing_of(failures: Mapping[UUID, datetime]) -> int:
    begun_before = [failed_at - settings.SCHEDULE_DEACTIVATE_AFTER for failed_at in failures.values()]
    with connection.cursor() as cursor:
        cursor.execute(_FAILING, {"sources": list(failures), "begun_before": begun_before})
        found = cursor.fetchall()
    count = 0
    for pk, effective_from, failing_since in found:
        # If its slots cannot be computed, the dispatcher deactivates it.
        with suppress(InvalidInputError):
            count += _deactivate(pk, effective_from, failing_since)
    return count


@transaction.atomic
def _deactivate(pk: int, effective_from: datetime, failing_since: datetime) -> bool:
    """Deactivates a schedule if enough of its deliveries have failed since `failing_since`, without a success.

    `effective_from` is the value that the schedule was found with. If it differs now, the schedule was changed or
    resumed.
    """
    rows = ScheduledExecution.objects.active().filter(pk=pk, effective_from=effective_from)
    schedule = rows.lock_free()
    if schedule is None:
        return False
    now = clock.now()
    failures = _failures_in_a_row(schedule, failing_since)
    if failures < settings.SCHEDULE_DEACTIVATE_AFTER_FAILURES:
        return False
    return deactivate_locked(schedule, DeactivationReason.FAILING, now, failures=failures)


def deactivate_locked(
    schedule: ScheduledExecution, reason: DeactivationReason, now: datetime, *, failures: int | None = None
) -> bool:
    """Deactivates a schedule whose row the caller has locked, and cancels its unsent deliveries.

    Returns False and changes nothing if somebody else holds one of these deliveries, so that nobody waits here.
    """
    # A cancellation would wait for a row that somebody holds.
    if not Delivery.objects.pending().of_source(schedule.uuid).lock_all():
        return False
    # If the schedule is resumed before a slot that was written ahead, that slot is not lost.
    withdrawn = withdraw_ahead([schedule.uuid], now=now, waits=False)
    schedule.next_run_at = withdrawn.get(schedule.pk, schedule.next_run_at)
    before = values_of(schedule, only=("is_active", "deactivation_reason"))
    schedule.is_active = False
    schedule.deactivation_reason = reason
    schedule.save(update_fields=["is_active", "deactivation_reason", "next_run_at", "updated_at"])
    record(Verb.CHANGED, schedule, before=before)
    cancel_pending(source_uuids=[schedule.uuid], reason=Reason.SCHEDULE_DEACTIVATED)
    announce_deactivated([schedule], reason, now, failures=failures)
    return True


def _failures_in_a_row(schedule: ScheduledExecution, failing_since: datetime) -> int:
    """Returns how many of its deliveries have failed since the last success, or 0 if the ledger cannot tell.

    Retention may already have removed a success, but never a failure or a row that is still to be sent. So if slots are
    missing between the first failure and the last slot, one of them may have been a success.
    """
    rows = Delivery.objects.of_source(schedule.uuid).filter(kind=Kind.SCHEDULED, due_at__gte=schedule.effective_from)
    span = rows.filter(due_at__gte=failing_since)
    if span.filter(state=State.DELIVERED).exists():
        return 0
    last = span.order_by("-due_at").values_list("due_at", "last_due_at")[0]
    expected = missed(schedule.recurrence, first=failing_since, now=max(filter(None, last))).earlier_count + 1
    if (span.aggregate(slots=Sum("slot_count"))["slots"] or 0) < expected:
        return 0
    success = rows.filter(state=State.DELIVERED).order_by("-due_at").values_list("due_at", flat=True).first()
    failed = rows.filter(state=State.FAILED)
    return failed.filter(due_at__gt=success).count() if success else failed.count()
