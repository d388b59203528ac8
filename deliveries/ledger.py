"""Writes rows of the ledger. They outlive the schedule or the event that they came from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
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
    headers: str = ""
    """The text of an EncryptedValuesField, or empty."""
    body: str = ""
    correlation_id: str | None = None
    skipped: Reason | None = None
    last_due_at: datetime | None = None
    slot_count: int = 1


# The partitions of the ledger.
QUEUE, FINISHED = "deliveries_queue", "deliveries_finished"

_ROWS_PER_INSERT = 1_000
_BODIES_AT_ONCE = 4 * 1024 * 1024

# A slot that is found due several times is written once: a row that exists stays as it is. This statement looks only
# at the slots in the table that it writes to, and the ones below at those in the other.
_INSERT_NEW_ROWS = """
INSERT INTO {table} (
    id, organization_id, command_id, user_id, kind, source_uuid, destination, due_at, last_due_at, slot_count, state,
    reason, url, origin, headers, timeout, body, attempt_count, max_attempts, next_attempt_at, expires_at, attempts,
    created_at, finished_at, correlation_id
)
SELECT v.id, v.organization_id, v.command_id, v.user_id, v.kind, v.source_uuid, v.destination, v.due_at, v.last_due_at,
       v.slot_count, v.state, v.reason, v.url, v.origin, v.headers, NULL, v.body, 0, %(max_attempts)s,
       CASE WHEN v.state = 'pending' THEN greatest(v.due_at, %(now)s) END, %(expires)s, '', %(now)s,
       CASE WHEN v.state <> 'pending' THEN %(now)s END, v.correlation_id
FROM json_to_recordset(%(rows)s::json) AS v(
    id uuid, organization_id bigint, command_id bigint, user_id bigint, kind text, source_uuid uuid, destination text,
    due_at timestamptz, last_due_at timestamptz, slot_count bigint, state text, reason text, url text, origin text,
    headers text, body text, correlation_id text
)
ON CONFLICT (source_uuid, due_at, destination) DO NOTHING
"""

# These are statements of their own, so that they also see a row that moved while the insert was under way.
_REMOVE_SLOTS_OF = """
DELETE FROM {table} d
WHERE d.id = ANY(%(ids)b::uuid[]) AND EXISTS (
    SELECT FROM {other} other
    WHERE other.source_uuid = d.source_uuid AND other.due_at = d.due_at AND other.destination = d.destination
)
"""
_INSERT_PENDING = _INSERT_NEW_ROWS.format(table=QUEUE)
_INSERT_SKIPPED = _INSERT_NEW_ROWS.format(table=FINISHED)
_REMOVE_FINISHED = _REMOVE_SLOTS_OF.format(table=QUEUE, other=FINISHED)
_REMOVE_QUEUED = _REMOVE_SLOTS_OF.format(table=FINISHED, other=QUEUE)


def insert(rows: Iterable[NewRow], *, now: datetime) -> int:
    """Writes the rows. Returns the number of new ones. The caller wakes a sender after it has committed."""
    return sum(
        _insert(portion, now, is_skipped=is_skipped)
        for is_skipped, of_one_table in groupby(rows, key=lambda row: row.skipped is not None)
        for portion in _portions(of_one_table)
    )


def remove_finished_slots(ids: Sequence[UUID]) -> int:
    """Removes those of these new rows of the queue whose slots have been finished before. Returns their number.

    The unique indexes of queue and ledger are separate. Without this a slot that is found due again, for example after
    a clock has stepped back, would be sent again.
    """
    return _remove(_REMOVE_FINISHED, ids)


def _remove(statement: str, ids: Sequence[UUID]) -> int:
    with connection.cursor() as cursor:
        cursor.execute(statement, {"ids": list(ids)})
        return int(cursor.rowcount)


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


def _insert(rows: list[NewRow], now: datetime, *, is_skipped: bool) -> int:
    ids = [new_ledger_id() for _ in rows]
    values = [{"id": id_, **_values(row)} for id_, row in zip(ids, rows, strict=True)]
    with connection.cursor() as cursor:
        cursor.execute(
            _INSERT_SKIPPED if is_skipped else _INSERT_PENDING,
            {
                "now": now,
                "expires": now + settings.DELIVERY_EXPIRES_AFTER,
                "max_attempts": default_attempts(),
                # One JSON text, because psycopg handles each element of an array in Python.
                "rows": orjson.dumps(values).decode(),
            },
        )
        written = int(cursor.rowcount)
    return written - _remove(_REMOVE_QUEUED if is_skipped else _REMOVE_FINISHED, ids)


def default_attempts() -> int:
    """Returns the number of attempts unless a schedule sets its own: one more than there are retry delays."""
    return len(settings.DELIVERY_RETRY_DELAYS) + 1


def _values(row: NewRow) -> dict[str, object]:
    return {
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
        "headers": row.headers,
        "body": row.body,
        "correlation_id": row.correlation_id,
    }
