"""Runs schedules by hand, and redelivers their slots, for callers and operators."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction

from commands_platform.lib import broker, clock
from commands_platform.lib.database.availability import busy_if_locked
from commands_platform.lib.errors import InvalidInputError
from commands_platform.lib.json import strict_json
from deliveries.models import Delivery, Kind
from deliveries.sendable import origin_or_reason
from deliveries.services import is_redeliverable, redeliver, redeliverable
from deliveries.tasks import deliver_pending
from scheduling import timing
from scheduling.due import insert_slots, view_as_due
from scheduling.errors import NotRedeliverableError
from scheduling.models import ScheduledExecution
from scheduling.planning import Slot
from scheduling.quotas import use_redeliveries
from scheduling.services import locked
from scheduling.validation import check_payload


@busy_if_locked()
@transaction.atomic
def run_now(*, schedule: ScheduledExecution, payload: dict[str, Any] | None = None) -> UUID:
    """Runs the schedule now, without using up a repeat. Returns the id of the delivery.

    `payload` is sent instead of the schedule's own. Raises InvalidInputError if it is too large, or if nothing can be
    called.
    """
    if payload is not None:
        check_payload(payload)
    schedule = locked(schedule)
    due = view_as_due(schedule.pk)
    origin, reason = origin_or_reason(due.callback_url, due.reason)
    if reason:
        raise InvalidInputError(f"It cannot run: {reason.label}.")
    now = clock.now()
    due_at = _free_instant(schedule, now)
    (delivery_uuid,) = insert_slots(
        [Slot(due.id, due_at, due.callback_url, origin)],
        now=now,
        kind=Kind.MANUAL,
        payload=None if payload is None else strict_json.dumps(payload).decode(),
    )
    broker.send_hint_on_commit(deliver_pending)
    return delivery_uuid


@busy_if_locked()
def redeliver_slot(*, delivery: Delivery) -> None:
    """Redelivers one finished slot. Raises NotRedeliverableError and QuotaExceededError."""
    if is_redeliverable(delivery):
        use_redeliveries(delivery.organization, 1)
    if not redeliver(deliveries=Delivery.objects.filter(pk=delivery.pk)):
        raise NotRedeliverableError


@busy_if_locked()
@transaction.atomic
def redeliver_slots(
    *,
    schedule: ScheduledExecution,
    due_from: datetime,
    due_to: datetime,
    states: Sequence[str],
    limit: int,
    dry_run: bool = False,
) -> int:
    """Redelivers the oldest `limit` finished slots in [due_from, due_to). Returns their number.

    Raises QuotaExceededError.
    """
    rows = Delivery.objects.of_source(schedule.uuid).filter(due_at__gte=due_from, due_at__lt=due_to, state__in=states)
    chosen = list(redeliverable(rows).order_by("due_at").values_list("pk", flat=True)[:limit])
    if dry_run:
        return len(chosen)
    use_redeliveries(schedule.organization, len(chosen))
    return redeliver(deliveries=Delivery.objects.filter(pk__in=chosen))


def _free_instant(schedule: ScheduledExecution, instant: datetime) -> datetime:
    """Returns the first instant from this one on that no row of the schedule has, and no slot that is already due.

    The ledger has one row for each instant, so a manual run and a slot of the same instant would become one run. The
    caller holds the schedule's lock.
    """
    while timing.is_slot_to_come(schedule, instant) or schedule.slots().filter(due_at=instant).exists():
        instant += timedelta(microseconds=1)
    return instant
