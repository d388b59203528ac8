"""Makes the ledger row of an event for one hook."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol
from uuid import UUID

import orjson

from deliveries.ledger import NewRow
from deliveries.models import Kind
from deliveries.sendable import origin_or_reason
from events.listeners import Listener
from events.models import destination_of


class PublishedEvent(Protocol):
    """The attributes of an event that its rows need."""

    @property
    def organization_id(self) -> int: ...
    @property
    def uuid(self) -> UUID: ...
    @property
    def name(self) -> str: ...
    @property
    def happened_at(self) -> datetime: ...


def row_for(event: PublishedEvent, listener: Listener, body: orjson.Fragment, *, correlation_id: str | None) -> NewRow:
    """Returns the row of the event for a hook. `body` is JSON. Without a URL to call, the row is skipped."""
    origin, reason = origin_or_reason(listener.url, listener.reason)
    return NewRow(
        organization_id=event.organization_id,
        command_id=listener.command_id,
        user_id=listener.user_id,
        kind=Kind.EVENT,
        source_uuid=event.uuid,
        destination=destination_of(listener.id),
        due_at=event.happened_at,
        url="" if reason else listener.url,
        origin=origin,
        headers="" if reason else listener.headers,
        body="" if reason else _callback_body(event, listener, body),
        correlation_id=correlation_id,
        skipped=reason,
    )


def _callback_body(event: PublishedEvent, listener: Listener, body: orjson.Fragment) -> str:
    return orjson.dumps(
        {
            "event": event.name,
            "event_timestamp": event.happened_at.timestamp(),
            "hook": {"id": listener.id, "name": listener.name},
            "body": body,
            "event_uuid": event.uuid,
            "user_uuid": listener.user_uuid,
            "user_full_name": listener.user_full_name,
            # The last key, so that the sender finds the place for the token of each attempt.
            "exchange_token": None,
        }
    ).decode()
