"""Makes and removes hooks, and publishes events of callers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from django.db import transaction

from audit.kinds import Verb
from audit.services import record
from audit.subjects import values_of
from auth_tokens.models import CallerContext, TokenSubject
from commands_platform.lib import clock
from commands_platform.lib.errors import InvalidInputError
from deliveries.services import cancel_pending_of_hook
from events.announcements import is_reserved
from events.listeners import count_listeners
from events.matching import covers, is_event_name, is_pattern
from events.models import Hook, OutboxEvent
from events.publishing import NewEvent, publish
from organizations import quotas
from organizations.quotas import Quota

MAX_EVENT_BODY_BYTES = 64 * 1024


@transaction.atomic
def register_hook(*, token: TokenSubject, subscriptions: Sequence[str], subscribed_objects: Sequence[str]) -> Hook:
    """Makes the hook of the token's command and user, or replaces its lists. Returns the hook.

    Callbacks that were queued under the old lists are still sent. Raises InvalidInputError and QuotaExceededError.
    """
    for pattern in subscriptions:
        if not is_pattern(pattern):
            message = f"{pattern!r} is not the name of an event, like forms.response.created, forms.* or *."
            raise InvalidInputError(errors={"subscriptions": [message]})
        if token.installation is not None and not covers(token.installation.events, pattern):
            message = f"The organization has not allowed this command to hear of {pattern!r}."
            raise InvalidInputError(errors={"subscriptions": [message]})
    hooks = Hook.objects.of(token).select_related("command", "user").select_for_update(of=("self",))
    present = hooks.first()
    before = values_of(present) if present is not None else None
    others = Hook.objects.filter(organization=token.organization).exclude(command=token.command, user=token.user)
    quotas.use(token.organization, Quota.HOOKS, 1, count=lambda limit: others[: limit + 1].count())
    hook = Hook(
        organization=token.organization,
        command=token.command,
        user=token.user,
        subscriptions=_without_repeats(subscriptions),
        subscribed_objects=_without_repeats(subscribed_objects),
    )
    # This is one statement, so that if two first requests come at the same time, the second replaces the first's lists.
    Hook.objects.bulk_create(
        [hook],
        update_conflicts=True,
        unique_fields=["command", "user"],
        update_fields=["organization", "subscriptions", "subscribed_objects", "updated_at"],
    )
    record(Verb.CREATED if before is None else Verb.CHANGED, hook, before=before)
    return hook


@transaction.atomic
def remove_hook(*, token: TokenSubject) -> None:
    """Removes the hook of the token's command and user, if there is one, and cancels its unsent callbacks."""
    hook = Hook.objects.of(token).first()
    if hook is None:
        return
    # A portion in hand may write a delivery for the hook. Once it is committed, that delivery can be cancelled too.
    OutboxEvent.objects.hold_back(hook, waits=True)
    destination = hook.destination
    record(Verb.DELETED, hook)
    hook.delete()
    cancel_pending_of_hook(destination=destination, organization_id=hook.organization_id)


def publish_event(
    *, context: CallerContext, name: str, body: Mapping[str, Any], object_id: str | None
) -> tuple[NewEvent, int]:
    """Publishes an event that a caller reports. Returns the event and the number of hooks that want it.

    Raises InvalidInputError for a name that is not well-formed or is reserved, and for a body over 64 KiB.
    """
    errors: dict[str, list[str]] = {}
    if not is_event_name(name):
        errors["event"] = ["The name must be lower-case words with dots between them, like forms.response.created."]
    elif is_reserved(name):
        errors["event"] = ["Only the platform itself publishes events of this name."]
    if len(orjson.dumps(body)) > MAX_EVENT_BODY_BYTES:
        errors["body"] = [f"The body may have {MAX_EVENT_BODY_BYTES} bytes of JSON at most."]
    if errors:
        raise InvalidInputError(errors=errors)
    event = NewEvent(
        organization_id=context.organization.pk,
        name=name,
        body=dict(body),
        object_id=object_id,
        happened_at=clock.now(),
    )
    count = count_listeners(organization_id=event.organization_id, name=name, object_id=object_id or "")
    if count:
        publish([event])
    return event, count


def _without_repeats(texts: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(texts))
