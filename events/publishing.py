"""Stores published events in the outbox. From there they are fanned out to hooks after the commit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import orjson
from django.db import connection, transaction

from commands_platform.lib.correlation import current_correlation_id
from events.listeners import INSTALLATION_JOIN, hears_sql
from events.matching import patterns_for
from events.signals import events_published

# Hooks have rising numbers, so the newest one tells them from later ones without comparing clocks. The statement looks
# for hooks once for each name. Only the fan-out compares the objects of events and hooks.
_STORE = f"""
WITH names AS MATERIALIZED (
    SELECT n.organization_id, n.name, (
        SELECT h.id FROM events_hook h {INSTALLATION_JOIN}
        WHERE {hears_sql(organization_id="n.organization_id", patterns="n.patterns")}
        ORDER BY h.id DESC LIMIT 1
    ) AS newest_hook_id
    FROM json_to_recordset(%(names)s::json) AS n(organization_id bigint, name text, patterns text[])
)
INSERT INTO events_outboxevent (
    uuid, organization_id, name, object_id, body, happened_at, after_hook_id, until_hook_id, correlation_id
)
SELECT e.uuid, e.organization_id, e.name, e.object_id, e.body, e.happened_at, 0, names.newest_hook_id,
       %(correlation_id)s::text
FROM json_to_recordset(%(events)s::json) AS e(
    uuid uuid, organization_id bigint, name text, object_id text, body text, happened_at timestamptz
)
JOIN names USING (organization_id, name)
WHERE names.newest_hook_id IS NOT NULL
ON CONFLICT (uuid) DO NOTHING
"""


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
    """Stores the events whose name some hook subscribes to. Returns the number stored.

    It is one statement, however many events and hooks there are, inside the caller's transaction if there is one. The
    hooks get the events after the commit.
    """
    if not events:
        return 0
    names = {(event.organization_id, event.name) for event in events}
    with connection.cursor() as cursor:
        cursor.execute(
            _STORE,
            {
                "names": _as_json(
                    {"organization_id": organization_id, "name": name, "patterns": sorted(patterns_for(name))}
                    for organization_id, name in names
                ),
                "events": _as_json(map(_values, events)),
                "correlation_id": current_correlation_id(),
            },
        )
        stored = int(cursor.rowcount)
    if stored:
        transaction.on_commit(_tell)
    return stored


def _tell() -> None:
    events_published.send(sender=None)


def _as_json(rows: Iterable[dict[str, object]]) -> str:
    return orjson.dumps(list(rows)).decode()


def _values(event: NewEvent) -> dict[str, object]:
    return {
        "uuid": event.uuid,
        "organization_id": event.organization_id,
        "name": event.name,
        "object_id": event.object_id or "",
        "body": orjson.dumps(event.body).decode(),
        "happened_at": event.happened_at,
    }
