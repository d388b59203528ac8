"""Makes and removes hooks, and publishes events of callers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from django.db import transaction
from django.db.models import Count

from audit.kinds import Verb
from audit.services import record
from audit.subjects import values_of
from auth_tokens.models import CallerContext, TokenSubject
from commands_platform.lib import broker, clock
from commands_platform.lib.correlation import current_correlation_id
from commands_platform.lib.errors import InvalidInputError, NotFoundError, PlatformError
from deliveries import ledger
from deliveries.custom_headers import check_headers
from deliveries.models import DeliveryQuerySet, Reason
from deliveries.services import cancel_pending_of_hook
from deliveries.tasks import deliver_pending
from events.announcements import HOOK_TEST, is_reserved
from events.catalogue import sample_of
from events.listeners import count_listeners, find_listener
from events.matching import covers, is_event_name, is_pattern
from events.models import Hook, OutboxEvent
from events.publishing import NewEvent, publish
from events.rows import row_for
from organizations import quotas
from organizations.models import Command, Organization
from organizations.quotas import Quota
from organizations.services import create_in_directory
from outbound.guard import address_guard

MAX_EVENT_BODY_BYTES = 64 * 1024
BEARER_HEADER = "X-BEARER"
COMMAND_OF_WEBHOOKS = "webhooks"


@dataclass(frozen=True, slots=True)
class FoundEvent:
    """An event that was published, and the number of its deliveries by state. `name` is None if none could be sent."""

    uuid: UUID
    name: str | None
    happened_at: datetime
    is_fanned_out: bool
    counts: Mapping[str, int]


@transaction.atomic
def register_hook(*, token: TokenSubject, subscriptions: Sequence[str], subscribed_objects: Sequence[str]) -> Hook:
    """Makes the hook of the token's command and user, or replaces its lists. Returns the hook.

    Callbacks that were queued under the old lists are still sent. Raises InvalidInputError and QuotaExceededError.
    """
    _check_patterns(subscriptions)
    for pattern in subscriptions:
        if token.installation is not None and not covers(token.installation.events, pattern):
            message = f"The organization has not allowed this command to hear of {pattern!r}."
            raise InvalidInputError(errors={"subscriptions": [message]})
    return _save(
        Hook(
            organization=token.organization,
            command=token.command,
            user=token.user,
            subscriptions=_without_repeats(subscriptions),
            subscribed_objects=_without_repeats(subscribed_objects),
        )
    )


@transaction.atomic
def register_webhook(
    *,
    context: CallerContext,
    hook_url: str,
    subscriptions: Sequence[str],
    subscribed_objects: Sequence[str],
    name: str,
    bearer: str,
) -> Hook:
    """Makes a hook with a URL of its own, or replaces the one of the same URL. Returns the hook.

    It belongs to the key's command, or else to the organization's command `webhooks`, which is made for it. Raises
    InvalidInputError and QuotaExceededError.
    """
    _check_patterns(subscriptions)
    try:
        url = address_guard().check_url(hook_url)
    except PlatformError as error:
        raise InvalidInputError(errors={"hook_url": [error.message]}) from error
    try:
        headers = check_headers({BEARER_HEADER: bearer}) if bearer else {}
    except InvalidInputError as error:
        raise InvalidInputError(errors={"bearer": [error.message]}) from error
    return _save(
        Hook(
            organization=context.organization,
            command=context.api_key.command or _command_of_webhooks(context.organization),
            subscriptions=_without_repeats(subscriptions),
            subscribed_objects=_without_repeats(subscribed_objects),
            callback_url=url,
            name=name,
            headers=headers,
        )
    )


@transaction.atomic
def remove_hook(*, hook: Hook) -> None:
    """Removes a hook, and cancels its unsent callbacks."""
    # A portion in hand may write a delivery for the hook. Once it is committed, that delivery can be cancelled too.
    OutboxEvent.objects.hold_back(hook, waits=True)
    destination = hook.destination
    record(Verb.DELETED, hook)
    hook.delete()
    cancel_pending_of_hook(destination=destination, organization_id=hook.organization_id)


def _save(hook: Hook) -> Hook:
    """Stores a hook, or replaces the one of the same command, user and URL."""
    same = Hook.objects.filter(command=hook.command, user=hook.user, callback_url=hook.callback_url)
    present = same.select_related("command", "user").select_for_update(of=("self",)).first()
    before = values_of(present) if present is not None else None
    if present is None:
        hooks = Hook.objects.filter(organization=hook.organization)
        quotas.use(hook.organization, Quota.HOOKS, 1, count=lambda limit: hooks[: limit + 1].count())
    # This is one statement, so that if two first requests come at the same time, the second replaces the first's lists.
    Hook.objects.bulk_create(
        [hook],
        update_conflicts=True,
        unique_fields=["command", "user", "callback_url"],
        update_fields=["organization", "subscriptions", "subscribed_objects", "name", "headers", "updated_at"],
    )
    record(Verb.CREATED if before is None else Verb.CHANGED, hook, before=before)
    return hook


def _command_of_webhooks(organization: Organization) -> Command:
    """Returns the command whose secrets sign the callbacks of hooks that no other command has made."""
    commands = Command.objects.filter(organization=organization, name=COMMAND_OF_WEBHOOKS)
    found = commands.first()
    if found is not None:
        return found
    try:
        return create_in_directory(row=Command(organization=organization, name=COMMAND_OF_WEBHOOKS))
    except InvalidInputError:
        # Somebody else has just made it.
        return commands.get()


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
    errors |= _errors_of(body)
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


@transaction.atomic
def send_sample(*, hook: Hook, name: str | None = None, body: Mapping[str, Any] | None = None) -> NewEvent:
    """Sends an event to one hook, whatever it subscribes to. Returns the event.

    Without a name it is `platform.hook.test`, and without a body it has the sample of its type. Raises
    InvalidInputError.
    """
    name = name or HOOK_TEST
    if not is_event_name(name):
        raise InvalidInputError(errors={"event": ["The name must be lower-case words with dots between them."]})
    if body is None:
        body = sample_of(name)
    if errors := _errors_of(body):
        raise InvalidInputError(errors=errors)
    listener = find_listener(hook.pk)
    if listener is None:
        raise NotFoundError
    if listener.reason:
        raise InvalidInputError(f"It cannot be sent: {Reason(listener.reason).label}.")
    event = NewEvent(
        organization_id=hook.organization_id, name=name, body=dict(body), object_id=None, happened_at=clock.now()
    )
    row = row_for(event, listener, orjson.Fragment(orjson.dumps(event.body)), correlation_id=current_correlation_id())
    ledger.insert([row], now=event.happened_at)
    broker.send_hint_on_commit(deliver_pending)
    return event


def find_event(*, organization: Organization, uuid: UUID, rows: DeliveryQuerySet) -> FoundEvent:
    """Returns an event from the outbox or else from its rows in the ledger. `rows` are those that the caller may know.

    Raises NotFoundError. An event that no hook wanted was not stored.
    """
    waiting = OutboxEvent.objects.filter(organization=organization, uuid=uuid).first()
    counts = dict(rows.order_by().values_list("state").annotate(Count("pk")))
    if waiting is not None:
        return FoundEvent(uuid, waiting.name, waiting.happened_at, is_fanned_out=False, counts=counts)
    if not counts:
        raise NotFoundError
    first = rows.exclude(body="").only("body", "due_at").first() or rows.only("body", "due_at")[0]
    name = orjson.loads(first.body)["event"] if first.body else None
    return FoundEvent(uuid, name, first.due_at, is_fanned_out=True, counts=counts)


def _errors_of(body: Mapping[str, Any]) -> dict[str, list[str]]:
    """Returns the errors of an event's body, by field."""
    if len(orjson.dumps(body)) <= MAX_EVENT_BODY_BYTES:
        return {}
    return {"body": [f"The body may have {MAX_EVENT_BODY_BYTES} bytes of JSON at most."]}


def _check_patterns(subscriptions: Sequence[str]) -> None:
    for pattern in subscriptions:
        if not is_pattern(pattern):
            message = f"{pattern!r} is not the name of an event, like forms.response.created, forms.* or *."
            raise InvalidInputError(errors={"subscriptions": [message]})


def _without_repeats(texts: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(texts))
