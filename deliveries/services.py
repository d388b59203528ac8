"""Cancels unsent deliveries, and sends finished ones once more, for the apps above."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Case, DurationField, ExpressionWrapper, F, IntegerField, Q, QuerySet, Value, When
from django.db.models.functions import Cast, Greatest, Least

from commands_platform.lib import broker, clock
from commands_platform.lib.correlation import current_correlation_id
from commands_platform.lib.database.availability import retry_if_moved
from deliveries import ledger
from deliveries.models import MAX_SMALLINT, Delivery, Reason, State
from deliveries.retry_policy import longest_last_wait
from deliveries.tasks import deliver_pending

REDELIVERABLE_STATES = (State.DELIVERED, State.FAILED, State.CANCELLED)
# The row keeps the record of each attempt, with up to 4 KiB of the answer.
MAX_KEPT_ATTEMPTS = 200


def cancel_pending(
    *,
    source_uuids: Iterable[UUID],
    reason: Reason,
    due_after: datetime | None = None,
    due_at: Sequence[datetime] | None = None,
) -> None:
    """Cancels the unsent deliveries of these sources: all of them, or those due after an instant or at some instants.

    A request in flight cannot be recalled. Its row takes the reason, which prevents a retry.
    """
    rows = Delivery.objects.pending().filter(source_uuid__in=list(source_uuids))
    if due_after is not None:
        rows = rows.filter(due_at__gt=due_after)
    if due_at is not None:
        rows = rows.filter(due_at__in=due_at)
    _cancel(rows, reason)


def cancel_pending_of_hook(*, destination: str, organization_id: int) -> None:
    """Cancels the unsent deliveries of one hook."""
    _cancel(
        Delivery.objects.pending().filter(organization_id=organization_id, destination=destination), Reason.HOOK_REMOVED
    )


def unsent_of_command(*, command_id: int, organization_id: int, before: datetime) -> QuerySet[Delivery]:
    """Returns what one command has not sent yet in one organization, of what was written before an instant."""
    return Delivery.objects.pending().filter(
        command=command_id, organization=organization_id, created_at__lt=before, reason=""
    )


@transaction.atomic
def cancel_pending_of_command(
    *, command_id: int, organization_id: int, before: datetime, reason: Reason, limit: int
) -> int:
    """Cancels up to `limit` unsent deliveries of one command in one organization. Returns the number of rows changed.

    It leaves rows that somebody has locked to the next call.
    """
    rows = unsent_of_command(command_id=command_id, organization_id=organization_id, before=before)
    locked = _lock(rows.select_for_update(skip_locked=True)[:limit])
    if locked:
        _cancel(Delivery.objects.pending().filter(pk__in=locked), reason)
    return len(locked)


@transaction.atomic
def _cancel(rows: QuerySet[Delivery], reason: Reason) -> None:
    # Locked in one order, so that two cancellations of the same rows cannot wait for each other. The locked rows cannot
    # change: a sender that records or releases them now either has finished, or leaves them until we have.
    ids = _lock(rows.select_for_update().order_by("pk"))
    is_free = Q(lease=None)
    Delivery.objects.pending().filter(pk__in=ids).update(
        reason=reason,
        state=Case(When(is_free, then=Value(State.CANCELLED.value)), default=F("state")),
        next_attempt_at=Case(When(is_free, then=None), default=F("next_attempt_at")),
        finished_at=Case(When(is_free, then=Value(clock.now())), default=F("finished_at")),
    )


def _lock(rows: QuerySet[Delivery]) -> list[UUID]:
    """Returns the keys of the rows, which are locked from now on. A row that has ended meanwhile is not among them."""

    @transaction.atomic
    def locked() -> list[UUID]:
        return list(rows.values_list("pk", flat=True))

    return retry_if_moved(locked)


def redeliverable(deliveries: QuerySet[Delivery]) -> QuerySet[Delivery]:
    """Returns the deliveries that can be sent once more: they are finished and have a URL and room for attempts."""
    return deliveries.filter(state__in=REDELIVERABLE_STATES, attempt_count__lt=MAX_KEPT_ATTEMPTS).exclude(url="")


def is_redeliverable(delivery: Delivery) -> bool:
    """Returns whether a row that has been read can be sent once more, by the same rule as `redeliverable`."""
    has_room = delivery.attempt_count < MAX_KEPT_ATTEMPTS
    return delivery.state in REDELIVERABLE_STATES and has_room and bool(delivery.url)


@transaction.atomic
def redeliver(*, deliveries: QuerySet[Delivery]) -> int:
    """Sends finished deliveries once more, with a full set of attempts and the same webhook-id. Returns the number."""
    now = clock.now()
    # As for a new row, attempts beyond the usual number extend the time it may wait.
    extra = Greatest(F("max_attempts") - F("attempts_before") - ledger.default_attempts(), 0)
    extra_time = ExpressionWrapper(extra * Value(longest_last_wait(settings.DELIVERY_RETRY_DELAYS)), DurationField())
    # A sum of smallints is a smallint, which it might overflow.
    attempts_made = Cast(F("attempt_count"), IntegerField())
    values = {
        "state": State.PENDING,
        "reason": "",
        "next_attempt_at": now,
        "finished_at": None,
        "expires_at": Value(now + settings.DELIVERY_EXPIRES_AFTER) + extra_time,
        "max_attempts": Least(attempts_made + F("max_attempts") - F("attempts_before"), MAX_SMALLINT),
        "attempts_before": F("attempt_count"),
        "correlation_id": current_correlation_id(),
    }

    @transaction.atomic
    def queue_again() -> int:
        return redeliverable(deliveries).update(**values)

    # Somebody else may redeliver one of them at the same time.
    count = retry_if_moved(queue_again)
    if count:
        broker.send_hint_on_commit(deliver_pending)
    return count
