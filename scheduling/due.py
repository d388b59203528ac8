"""What is due, and its rows in the ledger, in SQL: payloads go from schedules to the ledger inside the database."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import zip_longest
from typing import NamedTuple, Protocol
from uuid import UUID

from django.conf import settings

from commands_platform.lib.database.identifiers import new_ledger_id
from commands_platform.lib.database.statements import execute, rows_of
from commands_platform.lib.instants import format_instant
from deliveries.ledger import NewRow, default_attempts
from deliveries.models import Kind, Reason
from deliveries.retry_policy import longest_last_wait

# No slot is written longer than this before its time.
AHEAD = timedelta(seconds=1)

_PARTIES = """
JOIN organizations_organization o ON o.id = s.organization_id
JOIN organizations_command c ON c.id = s.command_id
LEFT JOIN organizations_user u ON u.id = s.owner_id
"""
_PARTIES_AND_WHOSE_COMMAND = _PARTIES + "JOIN organizations_organization co ON co.id = c.organization_id"
_URL = "CASE WHEN s.callback_url = '' THEN c.callback_url ELSE s.callback_url END"
ZONE = """CASE s.timezone_type WHEN 'custom_timezone' THEN s.timezone
    WHEN 'user_timezone' THEN COALESCE(NULLIF(u.timezone, ''), o.timezone) ELSE o.timezone END"""

# A command that is no longer public acts for its own organization alone.
_COLUMNS = f"""
s.id, s.uuid, s.name, s.cron, s.cron_seconds, s.dst_gap, s.dst_overlap, s.execution_frequency, s.repeats,
octet_length(s.payload), {_URL}, {ZONE},
s.anchor_at, s.next_run_at, s.ends_at, s.misfire_policy, s.misfire_grace, s.skip_overlapping,
s.organization_id, s.command_id, s.owner_id,
CASE WHEN NOT o.is_active THEN 'organization_inactive'
    WHEN NOT (c.is_active AND co.is_active AND (c.is_public OR c.organization_id = s.organization_id))
        THEN 'command_inactive'
    WHEN NOT u.is_active THEN 'user_inactive'
    WHEN {_URL} = '' THEN 'no_callback_url'
    ELSE '' END
"""

# What is read is what was locked: a join to the table would see it as it was before a change that was waited for.
_CLAIM = f"""
WITH due AS (
    SELECT * FROM scheduling_scheduledexecution
    WHERE is_active AND next_run_at <= %(now)s AND {{which}}
    ORDER BY next_run_at LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
), s AS (
    SELECT *, sum(octet_length(payload)) OVER (ORDER BY next_run_at, id) - octet_length(payload) AS bytes_before
    FROM due
)
SELECT {_COLUMNS}
FROM s {_PARTIES_AND_WHOSE_COMMAND}
WHERE s.bytes_before < %(bytes)s
ORDER BY s.next_run_at, s.id
"""

_CLAIM_OLDEST = _CLAIM.format(which="true")
_CLAIM_THESE = _CLAIM.format(which="id = ANY(%(ids)b::bigint[])")
# Those of which all is known before their time: no run that may still be over by then, no end.
_CLAIM_AHEAD = _CLAIM.format(
    which="next_run_at = %(now)s AND repeats = -1 AND NOT skip_overlapping AND (cron, execution_frequency) <> ('', 0)"
    " AND id <> ALL(%(left)b::bigint[])"
)

# A row that a sender has in hand is past its time by the database's clock, and stays. There may be several rows where
# that clock has stepped back.
_WITHDRAW = """
WITH withdrawn AS (
    DELETE FROM deliveries_delivery d USING scheduling_scheduledexecution s
    WHERE s.uuid = ANY(%(sources)b::uuid[]) AND s.is_active AND s.repeats = -1 AND d.source_uuid = s.uuid
      AND d.due_at > %(now)s AND d.kind = 'scheduled' AND d.state = 'pending' AND d.attempt_count = 0
      AND d.lease IS NULL
    RETURNING s.id, d.due_at
), earliest AS (
    SELECT id, min(due_at) AS due_at FROM withdrawn GROUP BY id
)
UPDATE scheduling_scheduledexecution s SET next_run_at = earliest.due_at
FROM earliest WHERE s.id = earliest.id
RETURNING s.id, s.next_run_at
"""

# A receiver is told apart by the authority of its URL.
_HERD = f"""
SELECT s.id, split_part({_URL}, '/', 3)
FROM (
    (SELECT id FROM scheduling_scheduledexecution WHERE is_active AND next_run_at <= %(now)s
     ORDER BY next_run_at LIMIT %(oldest)s)
    UNION ALL
    (SELECT id FROM scheduling_scheduledexecution WHERE is_active AND next_run_at <= %(now)s
     ORDER BY next_run_at DESC LIMIT %(newest)s)
) due
JOIN scheduling_scheduledexecution s ON s.id = due.id
JOIN organizations_command c ON c.id = s.command_id
"""

_VIEW = f"""
SELECT {_COLUMNS} FROM scheduling_scheduledexecution s {_PARTIES_AND_WHOSE_COMMAND} WHERE s.id = %(id)s
"""

# The body lacks the token and the attempt's number, which each sending fills in. A slot that is already there stays as
# it is: however often it is found due, it is written once.
_INSERT = f"""
INSERT INTO deliveries_delivery (
    id, organization_id, command_id, user_id, kind, source_uuid, destination, due_at, slot_count, state, reason, url,
    origin, headers, timeout, body, attempt_count, max_attempts, next_attempt_at, expires_at, attempts, created_at
)
SELECT v.id, s.organization_id, s.command_id, s.owner_id, %(kind)s, s.uuid, '', v.due_at, 1, 'pending', '', v.url,
       v.origin, CASE s.headers WHEN '{{}}' THEN '' ELSE s.headers END, s.timeout,
       concat(
           '{{"intent":', to_json(c.name), ',"query":"","event_timestamp":"', v.due,
           '","organization_uuid":"', o.uuid,
           '","user_uuid":', COALESCE(to_json(u.uuid), 'null'),
           ',"user_full_name":', COALESCE(to_json(u.full_name), 'null'),
           ',"command_uuid":"', c.uuid,
           '","exchange_token":null,"payload":', s.payload,
           ',"scheduled_execution":{{"uuid":"', s.uuid, '","name":', to_json(s.name),
           ',"due_at":"', v.due, '","attempt":0}}}}'
       ),
       0, COALESCE(s.max_attempts, %(max_attempts)s), v.due_at,
       %(expires)s + greatest(s.max_attempts - %(max_attempts)s, 0) * %(longest_last_wait)s, '[]', %(now)s
FROM unnest(
    %(ids)b::uuid[], %(schedules)b::bigint[], %(due_at)b::timestamptz[], %(due)b::text[], %(urls)b::text[],
    %(origins)b::text[]
) AS v(id, schedule_id, due_at, due, url, origin)
JOIN scheduling_scheduledexecution s ON s.id = v.schedule_id
{_PARTIES}
ON CONFLICT (source_uuid, due_at, destination) DO NOTHING
"""


class DueSchedule(NamedTuple):
    """What decides on the slots of a schedule: its own columns, and those of whom it is for."""

    id: int
    uuid: UUID
    name: str
    cron: str
    cron_seconds: bool
    dst_gap: str
    dst_overlap: str
    execution_frequency: int
    repeats: int
    payload_bytes: int
    callback_url: str
    zone: str
    anchor_at: datetime
    next_run_at: datetime
    ends_at: datetime | None
    misfire_policy: str
    misfire_grace: int
    skip_overlapping: bool
    organization_id: int
    command_id: int
    owner_id: int | None
    skip: str
    """The Reason why none of its slots can be sent now; empty where they can."""


class Slot(NamedTuple):
    """One due time of a schedule that is to be sent, and to whom."""

    schedule_id: int
    due_at: datetime
    url: str
    origin: str


class _Owned(Protocol):
    @property
    def uuid(self) -> UUID: ...
    @property
    def organization_id(self) -> int: ...
    @property
    def command_id(self) -> int: ...
    @property
    def owner_id(self) -> int | None: ...


def claim_due(*, now: datetime, limit: int, most_bytes: int, ids: Sequence[int] | None = None) -> list[DueSchedule]:
    """The schedules that are due, of these or of all, oldest first, locked; those that fit into `most_bytes`."""
    statement = _CLAIM_OLDEST if ids is None else _CLAIM_THESE
    parameters = {"now": now, "limit": limit, "bytes": most_bytes, "ids": ids}
    return [DueSchedule._make(row) for row in rows_of(statement, parameters)]


def claim_ahead(*, due_at: datetime, left: Sequence[int], limit: int, most_bytes: int) -> list[DueSchedule]:
    """Schedules that will be due at `due_at`, but for those that were `left`, locked; those that fit into `most_bytes`.

    Only those whose slot can be planned before its time.
    """
    parameters = {"now": due_at, "left": left, "limit": limit, "bytes": most_bytes}
    return [DueSchedule._make(row) for row in rows_of(_CLAIM_AHEAD, parameters)]


def withdraw_ahead(sources: Sequence[UUID], *, now: datetime) -> dict[int, datetime]:
    """Takes back the slots of these schedules that were written before their time, which is still to come.

    The caller holds the schedules' locks. Returns the schedules that have one less, with the next run that they have
    again.
    """
    return dict(rows_of(_WITHDRAW, {"sources": list(sources), "now": now}))


def due_in_turns(*, now: datetime, oldest: int, newest: int) -> list[int]:
    """The schedules that have been due for longest, and some that have just become so: one of each receiver in turn."""
    queues: dict[str, dict[int, None]] = {}
    for pk, receiver in rows_of(_HERD, {"now": now, "oldest": oldest, "newest": newest}):
        queues.setdefault(receiver, {})[pk] = None
    return [pk for turn in zip_longest(*queues.values()) for pk in turn if pk is not None]


def due_view(pk: int) -> DueSchedule:
    """One schedule as the dispatcher sees it, due or not."""
    (row,) = rows_of(_VIEW, {"id": pk})
    return DueSchedule._make(row)


def insert_slots(slots: Sequence[Slot], *, now: datetime, kind: Kind = Kind.SCHEDULED) -> None:
    """Writes the ledger's rows of slots that are to be sent."""
    if not slots:
        return
    schedules, due_at, urls, origins = zip(*slots, strict=True)
    execute(
        _INSERT,
        {
            "ids": [new_ledger_id() for _ in slots],
            "schedules": list(schedules),
            "due_at": list(due_at),
            "due": [_formatted(instant) for instant in due_at],
            "urls": list(urls),
            "origins": list(origins),
            "kind": kind,
            "max_attempts": default_attempts(),
            "longest_last_wait": longest_last_wait(settings.DELIVERY_RETRY_DELAYS),
            "expires": now + settings.DELIVERY_EXPIRES_AFTER,
            "now": now,
        },
    )


# A herd is due at one instant.
_formatted = lru_cache(maxsize=256)(format_instant)


def skipped_row(
    schedule: _Owned, due_at: datetime, reason: Reason, *, last_due_at: datetime | None = None, count: int = 1
) -> NewRow:
    """The ledger row of a slot that is not sent, or of a run of `count` of them up to `last_due_at`."""
    return NewRow(
        organization_id=schedule.organization_id,
        command_id=schedule.command_id,
        user_id=schedule.owner_id,
        kind=Kind.SCHEDULED,
        source_uuid=schedule.uuid,
        due_at=due_at,
        skipped=reason,
        last_due_at=last_due_at if count > 1 else None,
        slot_count=count,
    )
