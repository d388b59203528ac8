"""Subscribing to events, and publishing them: each event becomes one ledger row for each hook that wants it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import orjson
import structlog
from django.db import connection, transaction
from django.db.models import Exists, OuterRef

from auth_tokens.models import CallerContext, TokenSubject
from commands_platform.lib import broker, clock
from commands_platform.lib.errors import InvalidInputError
from commands_platform.lib.instants import format_instant
from deliveries import ledger
from deliveries.ledger import NewRow
from deliveries.models import Delivery, Kind
from deliveries.services import cancel_pending_of_hook
from deliveries.tasks import deliver_pending
from events.matching import is_event_name, is_pattern
from events.models import Hook
from organizations.models import User
from outbound.address_guard import origin_of

logger = structlog.get_logger(__name__)

DELIVERY_FAILED = "platform.delivery.failed"
USER_ACTIVATED = "organization.user_activated"
USER_DEACTIVATED = "organization.user_deactivated"

LARGEST_BODY = 64 * 1024


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One event that happened in an organization; `object_id` is what it is about, where it is about one thing."""

    organization_id: int
    name: str
    body: dict[str, Any]
    object_id: str | None
    occurred_at: datetime
    uuid: UUID = field(default_factory=uuid4)


def register_hook(*, token: TokenSubject, subscriptions: Sequence[str], subscribed_objects: Sequence[str]) -> Hook:
    """The hook of the token's command and user, new or with its lists replaced; what it was sent before still arrives.

    Raises InvalidInputError.
    """
    for pattern in subscriptions:
        if not is_pattern(pattern):
            message = f"{pattern!r} is not the name of an event, like forms.response.created, forms.* or *."
            raise InvalidInputError(errors={"subscriptions": [message]})
    hook = Hook(
        organization=token.organization,
        command=token.command,
        user=token.user,
        subscriptions=_each_once(subscriptions),
        subscribed_objects=_each_once(subscribed_objects),
    )
    # One statement, so that of two first requests at the same time the second replaces what the first made.
    Hook.objects.bulk_create(
        [hook],
        update_conflicts=True,
        unique_fields=["command", "user"],
        update_fields=["organization", "subscriptions", "subscribed_objects", "updated_at"],
    )
    return hook


@transaction.atomic
def remove_hook(*, token: TokenSubject) -> None:
    """Removes the hook of the token's command and user, if there is one, and cancels what it has not been sent."""
    hook = Hook.objects.of(token).first()
    if hook is None:
        return
    destination = hook.destination
    hook.delete()
    cancel_pending_of_hook(destination=destination, organization_id=hook.organization_id)


def publish_event(
    *, context: CallerContext, name: str, body: Mapping[str, Any], object_id: str | None
) -> tuple[Occurrence, int]:
    """An event of the API key's organization that a caller reports, and how many ledger rows it led to.

    Raises InvalidInputError for a name that is not well-formed or is the platform's own, and for a body over 64 KiB.
    """
    errors: dict[str, list[str]] = {}
    if not is_event_name(name):
        errors["event"] = ["The name must be lower-case words with dots between them, like forms.response.created."]
    elif _is_the_platforms_own(name):
        errors["event"] = ["Only the platform itself publishes events of this name."]
    if len(orjson.dumps(body)) > LARGEST_BODY:
        errors["body"] = [f"The body may have {LARGEST_BODY} bytes of JSON at most."]
    if errors:
        raise InvalidInputError(errors=errors)
    occurrence = Occurrence(
        organization_id=context.organization.pk,
        name=name,
        body=dict(body),
        object_id=object_id,
        occurred_at=clock.now(),
    )
    return occurrence, publish_all([occurrence])


def publish_all(occurrences: Sequence[Occurrence]) -> int:
    """Writes a ledger row for each occurrence and each hook that wants it; how many there are.

    A hook that nothing can be sent to gets a skipped row with the reason. Without hooks this is one query.
    """
    hooks = _hooks_by_organization(occurrences)
    if not hooks:
        return 0
    with transaction.atomic(savepoint=False):
        now = clock.now()
        written = ledger.insert(_rows(occurrences, hooks), now=now)
        if written:
            broker.send_hint_on_commit(deliver_pending)
    return written


def publish_failed_deliveries(ids: Sequence[UUID]) -> None:
    """Publishes `platform.delivery.failed` for each of these deliveries whose organization has a hook for it.

    It runs inside the transaction that records the failures, and never keeps them from being recorded.
    """
    listeners = Hook.objects.subscribed_to([DELIVERY_FAILED]).filter(organization=OuterRef("organization"))
    failed = Delivery.objects.filter(Exists(listeners), id__in=ids).only(
        "organization", "source_uuid", "due_at", "attempt_count", "last_status", "reason", "finished_at"
    )
    try:
        with transaction.atomic():
            publish_all([_failure(delivery) for delivery in failed])
    except Exception:
        # Where the savepoint could not be restored the recording is lost with it, and must not seem to have succeeded.
        if connection.needs_rollback:
            raise
        logger.exception("failed_deliveries_not_published", deliveries=[str(id_) for id_ in ids[:10]], count=len(ids))


def publish_user_change(*, user: User, was_active: bool) -> None:
    """Publishes `organization.user_activated` or `organization.user_deactivated` if the user is now what it was not."""
    if user.is_active == was_active:
        return
    # Without the address: a hook may be that of another organization's public command.
    body = {"user_uuid": str(user.uuid), "full_name": user.full_name}
    publish_all(
        [
            Occurrence(
                organization_id=user.organization_id,
                name=USER_ACTIVATED if user.is_active else USER_DEACTIVATED,
                body=body,
                object_id=str(user.uuid),
                occurred_at=clock.now(),
            )
        ]
    )


def _is_the_platforms_own(name: str) -> bool:
    return name.partition(".")[0] == "platform" or name in (USER_ACTIVATED, USER_DEACTIVATED)


def _each_once(texts: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(texts))


def _hooks_by_organization(occurrences: Sequence[Occurrence]) -> dict[int, list[Hook]]:
    if not occurrences:
        return {}
    hooks = Hook.objects.subscribed_to({occurrence.name for occurrence in occurrences}).filter(
        organization__in={occurrence.organization_id for occurrence in occurrences}
    )
    found: dict[int, list[Hook]] = defaultdict(list)
    for hook in hooks.select_related("organization", "command__organization", "user"):
        found[hook.organization_id].append(hook)
    return found


def _rows(occurrences: Sequence[Occurrence], hooks: Mapping[int, Sequence[Hook]]) -> Iterator[NewRow]:
    for occurrence in occurrences:
        body = orjson.Fragment(orjson.dumps(occurrence.body))
        for hook in hooks.get(occurrence.organization_id, ()):
            if hook.wants(occurrence.name, occurrence.object_id):
                yield _row(occurrence, hook, body)


def _row(occurrence: Occurrence, hook: Hook, body: orjson.Fragment) -> NewRow:
    reason = hook.reason_to_skip()
    return NewRow(
        organization_id=occurrence.organization_id,
        command_id=hook.command_id,
        user_id=hook.user_id,
        kind=Kind.EVENT,
        source_uuid=occurrence.uuid,
        destination=hook.destination,
        due_at=occurrence.occurred_at,
        url="" if reason else hook.command.callback_url,
        origin="" if reason else origin_of(hook.command.callback_url),
        body="" if reason else _callback_body(occurrence, hook, body),
        skipped=reason,
    )


def _callback_body(occurrence: Occurrence, hook: Hook, body: orjson.Fragment) -> str:
    return orjson.dumps(
        {
            "event": occurrence.name,
            "event_timestamp": occurrence.occurred_at.timestamp(),
            "hook": {"id": hook.pk, "name": hook.command.name},
            "body": body,
        }
    ).decode()


def _failure(delivery: Delivery) -> Occurrence:
    return Occurrence(
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
        occurred_at=delivery.finished_at or clock.now(),
    )
