"""Writes rows of the ledger. They outlive the schedule or the event that they came from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import orjson
from django.conf import settings
from django.db import connection

from commands_platform.lib.database.identifiers import new_ledger_id
from deliveries.models import Kind, Reason, State


@dataclass(frozen=True, slots=True)
class NewRow:
    """A row to be written: one slot to be sent, or one or several slots in a row that were skipped."""

    organization_id: int
    command_id: int
    user_id: int | None
    kind: Kind
    source_uuid: UUID
    due_at: datetime
    destination: str = ""
    url: str = ""
    origin: str = ""
    body: str = ""
    correlation_id: str | None = None
    skipped: Reason | None = None
    last_due_at: datetime | None = None
    slot_count: int = 1


_ROWS_PER_INSERT = 1_000
_BODIES_AT_ONCE = 4 * 1024 * 1024

# A slot that is found due several times is written once: a row that exists stays as it is.
_INSERT_NEW_ROWS = """
INSERT INTO deliveries_delivery (
    id, organization_id, command_id, user_id, kind, source_uuid, destination, due_at, last_due_at, slot_count, state,
    reason, url, origin, headers, timeout, body, attempt_count, max_attempts, next_attempt_at, expires_at, attempts,
    created_at, finished_at, correlation_id
)
SELECT v.id, v.organization_id, v.command_id, v.user_id, v.kind, v.source_uuid, v.destination, v.due_at, v.last_due_at,
       v.slot_count, v.state, v.reason, v.url, v.origin, '', NULL, v.body, 0, %(max_attempts)s,
       CASE WHEN v.state = 'pending' THEN v.due_at END, %(expires)s, '[]', %(now)s,
       CASE WHEN v.state <> 'pending' THEN %(now)s END, v.correlation_id
FROM json_to_recordset(%(rows)s::json) AS v(
    id uuid, organization_id bigint, command_id bigint, user_id bigint, kind text, source_uuid uuid, destination text,
    due_at timestamptz, last_due_at timestamptz, slot_count bigint, state text, reason text, url text, origin text,
    body text, correlation_id text
)
ON CONFLICT (source_uuid, due_at, destination) DO NOTHING
"""


def insert(rows: Iterable[NewRow], *, now: datetime) -> int:
    """Writes the rows. Returns the number of new ones. The caller wakes a sender after it has committed."""
    return sum(_insert(portion, now) for portion in _portions(rows))


def _portions(rows: Iterable[NewRow]) -> Iterator[list[NewRow]]:
    """Yields the rows in portions that fit into one statement, however long their bodies are."""
    portion: list[NewRow] = []
    size = 0
    for row in rows:
        portion.append(row)
        size += len(row.body)
        if len(portion) == _ROWS_PER_INSERT or size >= _BODIES_AT_ONCE:
            yield portion
            portion, size = [], 0
    if portion:
        yield portion


def _insert(rows: list[NewRow], now: datetime) -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            _INSERT_NEW_ROWS,
            {
                "now": now,
                "expires": now + settings.DELIVERY_EXPIRES_AFTER,
                "max_attempts": default_attempts(),
                # One JSON text, because psycopg handles each element of an array in Python.
                "rows": orjson.dumps([_values(row) for row in rows]).decode(),
            },
        )
        return int(cursor.rowcount)


def default_attempts() -> int:
    """Returns the number of attempts unless a schedule sets its own: one more than there are retry delays."""
    return len(settings.DELIVERY_RETRY_DELAYS) + 1


def _values(row: NewRow) -> dict[str, object]:
    return {
        "id": new_ledger_id(),
        "organization_id": row.organization_id,
        "command_id": row.command_id,
        "user_id": row.user_id,
        "kind": row.kind,
        "source_uuid": row.source_uuid,
        "destination": row.destination,
        "due_at": row.due_at,
        "last_due_at": row.last_due_at,
        "slot_count": row.slot_count,
        "state": State.PENDING if row.skipped is None else State.SKIPPED,
        "reason": row.skipped or "",
        "url": row.url,
        "origin": row.origin,
        "body": row.body,
        "correlation_id": row.correlation_id,
    }
