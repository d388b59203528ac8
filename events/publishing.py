"""Turns events into ledger rows: one row for each hook that wants the event."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import orjson
from django.db import transaction

from commands_platform.lib import broker, clock
from deliveries import ledger
from deliveries.ledger import NewRow
from deliveries.models import Kind
from deliveries.sendable import origin_or_reason
from deliveries.tasks import deliver_pending
from events.models import Hook


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event that has just happened in an organization. `object_id` names the one thing that it is about, if any."""

    organization_id: int
    name: str
    body: dict[str, Any]
    object_id: str | None
    happened_at: datetime
    uuid: UUID = field(default_factory=uuid4)


def publish(events: Sequence[NewEvent]) -> int:
    """Writes a ledger row for each event and each hook that wants it. Returns the number of rows.

    A hook that nothing can be sent to gets a skipped row with the reason. Without hooks this costs one query.
    """
    hooks = _hooks_by_organization(events)
    if not hooks:
        return 0
    with transaction.atomic(savepoint=False):
        written = ledger.insert(_rows(events, hooks), now=clock.now())
        if written:
            broker.send_hint_on_commit(deliver_pending)
    return written


def _hooks_by_organization(events: Sequence[NewEvent]) -> dict[int, list[Hook]]:
    if not events:
        return {}
    hooks = Hook.objects.subscribed_to({event.name for event in events}).filter(
        organization__in={event.organization_id for event in events}
    )
    found: dict[int, list[Hook]] = defaultdict(list)
    for hook in hooks.with_permissions().select_related("command"):
        found[hook.organization_id].append(hook)
    return found


def _rows(events: Sequence[NewEvent], hooks: Mapping[int, Sequence[Hook]]) -> Iterator[NewRow]:
    for event in events:
        body = orjson.Fragment(orjson.dumps(event.body))
        for hook in hooks.get(event.organization_id, ()):
            if hook.wants(event.name, event.object_id):
                yield _row(event, hook, body)


def _row(event: NewEvent, hook: Hook, body: orjson.Fragment) -> NewRow:
    url = hook.command.callback_url
    origin, reason = origin_or_reason(url, hook.reason_to_skip)
    return NewRow(
        organization_id=event.organization_id,
        command_id=hook.command_id,
        user_id=hook.user_id,
        kind=Kind.EVENT,
        source_uuid=event.uuid,
        destination=hook.destination,
        due_at=event.happened_at,
        url="" if reason else url,
        origin=origin,
        body="" if reason else _callback_body(event, hook, body),
        skipped=reason,
    )


def _callback_body(event: NewEvent, hook: Hook, body: orjson.Fragment) -> str:
    return orjson.dumps(
        {
            "event": event.name,
            "event_timestamp": event.happened_at.timestamp(),
            "hook": {"id": hook.pk, "name": hook.command.name},
            "body": body,
        }
    ).decode()
