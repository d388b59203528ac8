"""Announces what happens to deliveries and users as the platform's own events."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import structlog
from django.db import connection, transaction
from django.db.models import Exists, OuterRef

from commands_platform.lib import clock
from commands_platform.lib.instants import format_instant
from deliveries.models import Delivery, Reason
from events.catalogue import SAMPLE_UUID, event_type, find_event_type
from events.models import Hook
from events.publishing import NewEvent, publish
from organizations.models import User

logger = structlog.get_logger(__name__)

DELIVERY_FAILED = event_type(
    "platform.delivery.failed",
    "A delivery has failed for good.",
    {
        "delivery_uuid": "01a2008b-707b-72bb-af9f-d634bab213f3",
        "schedule_uuid": SAMPLE_UUID,
        "due_at": "2026-11-25T10:00:00Z",
        "attempts": 8,
        "status": 503,
        "reason": "retries_exhausted",
    },
)
HOOK_REMOVED = event_type(
    "platform.hook.removed",
    "A hook was removed, because its receiver answered 410 Gone.",
    {
        "hook_id": 1,
        "command_uuid": SAMPLE_UUID,
        "user_uuid": SAMPLE_UUID,
        "subscriptions": ["forms.response.created"],
        "reason": "gone",
    },
)
HOOK_TEST = event_type("platform.hook.test", "Somebody tests a hook.", {"hook_id": 1})
_SAMPLE_USER = {"user_uuid": SAMPLE_UUID, "full_name": "Ada Lovelace"}
USER_ACTIVATED = event_type("organization.user_activated", "A user was activated.", _SAMPLE_USER)
USER_DEACTIVATED = event_type("organization.user_deactivated", "A user was deactivated.", _SAMPLE_USER)


def announce_failed_deliveries(ids: Sequence[UUID]) -> None:
    """Publishes `platform.delivery.failed` for each of these deliveries whose organization has a hook for it.

    It runs inside the transaction that records the failures, and never prevents them from being recorded.
    """
    listeners = Hook.objects.subscribed_to(DELIVERY_FAILED).filter(organization=OuterRef("organization"))
    failed = Delivery.objects.filter(Exists(listeners), id__in=ids).only(
        "organization", "source_uuid", "due_at", "attempt_count", "last_status", "reason", "finished_at"
    )
    try:
        with transaction.atomic():
            publish([_failure(delivery) for delivery in failed])
    except Exception:
        # If the savepoint could not be restored, the recording is lost too, and must not seem to have succeeded.
        if connection.needs_rollback:
            raise
        logger.exception("failed_deliveries_not_announced", deliveries=[str(id_) for id_ in ids[:10]], count=len(ids))


def announce_removed_hook(hook: Hook, *, number: int) -> None:
    """Publishes `platform.hook.removed` for a hook whose receiver is gone, after it was removed."""
    publish(
        [
            NewEvent(
                organization_id=hook.organization_id,
                name=HOOK_REMOVED,
                body={
                    "hook_id": number,
                    "command_uuid": str(hook.command.uuid),
                    "user_uuid": str(hook.user.uuid) if hook.user else None,
                    "subscriptions": hook.subscriptions,
                    "reason": Reason.GONE,
                },
                object_id=str(number),
                happened_at=clock.now(),
            )
        ]
    )


def announce_user_change(*, user: User, was_active: bool) -> None:
    """Publishes `organization.user_activated` or `organization.user_deactivated` if `is_active` has changed."""
    if user.is_active == was_active:
        return
    # Without the email address, because the hook may belong to another organization's public command.
    body = {"user_uuid": str(user.uuid), "full_name": user.full_name}
    publish(
        [
            NewEvent(
                organization_id=user.organization_id,
                name=USER_ACTIVATED if user.is_active else USER_DEACTIVATED,
                body=body,
                object_id=str(user.uuid),
                happened_at=clock.now(),
            )
        ]
    )


def is_reserved(name: str) -> bool:
    """Returns whether only the platform itself may publish events of this name."""
    return name.partition(".")[0] == "platform" or find_event_type(name) is not None


def _failure(delivery: Delivery) -> NewEvent:
    return NewEvent(
        organization_id=delivery.organization_id,
        name=DELIVERY_FAILED,
        body={
            "delivery_uuid": str(delivery.id),
            "schedule_uuid": str(delivery.source_uuid),
            "due_at": format_instant(delivery.due_at),
            "attempts": delivery.attempt_count,
            "status": delivery.last_status,
            "reason": delivery.reason,
        },
        object_id=str(delivery.source_uuid),
        happened_at=delivery.finished_at or clock.now(),
    )
