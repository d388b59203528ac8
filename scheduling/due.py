"""Locks due schedules and writes their slots to the ledger, in SQL, so that payloads never leave the database."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from django.conf import settings

from auth_tokens.scopes import Scope
from commands_platform.lib.correlation import current_correlation_id
from commands_platform.lib.database.identifiers import new_ledger_id
from commands_platform.lib.database.statements import execute, rows_as, rows_of
from deliveries import sendable
from deliveries.ledger import NewRow, default_attempts, remove_finished_slots
from deliveries.models import Kind
from deliveries.retry_policy import longest_last_wait
from scheduling.planning import DueSchedule, SkippedSlots, Slot

# Slots are written at most this long before their time.
AHEAD = timedelta(seconds=1)

_SENDABLE_JOINS = sendable.joins_sql(
    organization_id="s.organization_id", command_id="s.command_id", user_id="s.owner_id"
)
CALLED_URL = "CASE WHEN s.callback_url = '' THEN c.callback_url ELSE s.callback_url END"
_REASON_OF_SCHEDULE = sendable.reason_sql(user_id="s.owner_id", url=CALLED_URL, scope=f"'{Scope.SCHEDULING}'")
ZONE = """CASE s.timezone_type WHEN 'custom_timezone' THEN s.timezone
    WHEN 'user_timezone' THEN COALESCE(NULLIF(u.timezone, ''), o.timezone) ELSE o.timezone END"""

_DUE_COLUMNS = f"""
s.id, s.uuid, s.name, s.cron, s.cron_seconds, s.dst_gap, s.dst_overlap, s.every, s.exceptions,
s.execution_frequency, s.spread, s.repeats, octet_length(s.payload) AS payload_bytes, {CALLED_URL} AS callback_url,
{ZONE} AS zone,
s.anchor_at, s.next_run_at, s.ends_at, s.misfire_policy, s.misfire_grace, s.overlap,
s.organization_id, s.command_id, s.owner_id, {_REASON_OF_SCHEDULE} AS reason
"""

# The schedules due longest. Those that are due at one instant come in the order of the index.
_DUE_LONGEST = """
    SELECT * FROM scheduling_scheduledexecution
    WHERE is_active AND next_run_at <= %(now)s AND {which}
    ORDER BY next_run_at, organization_id LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
"""

# Schedules that are due at one instant, the same number of each organization. The index finds each organization by one
# probe, so one with very many of them does not hide the others. Pairs are compared, because for single columns
# PostgreSQL might choose the index of organizations, and read all schedules of one.
_OF_EACH_ORGANIZATION = """
    WITH RECURSIVE found AS (
        SELECT 0::bigint AS id, 0 AS number
        UNION ALL
        SELECT next.id, found.number + 1
        FROM found, LATERAL (
            SELECT next_run_at, organization_id AS id FROM scheduling_scheduledexecution
            WHERE is_active AND (next_run_at, organization_id) > (%(now)s, found.id)
            ORDER BY next_run_at, organization_id LIMIT 1
        ) next
        WHERE next.next_run_at = %(now)s AND found.number < %(limit)s
    ), organizations AS (
        SELECT id, greatest(1, %(limit)s / count(*) OVER ()) AS most FROM found WHERE number > 0
    )
    SELECT of_one.* FROM organizations, LATERAL (
        SELECT * FROM scheduling_scheduledexecution
        WHERE is_active AND {which}
          AND (next_run_at, organization_id) >= (%(now)s, organizations.id)
          AND (next_run_at, organization_id) <= (%(now)s, organizations.id)
        ORDER BY next_run_at, organization_id LIMIT organizations.most
        FOR UPDATE SKIP LOCKED
    ) of_one
"""

# This reads the locked row itself. A join to the table would see the row as it was before a change that had to be
# waited for.
_LOCK_DUE = f"""
WITH due AS ({{due}}), s AS (
    SELECT *, sum(octet_length(payload)) OVER (ORDER BY next_run_at, id) - octet_length(payload) AS bytes_before
    FROM due
)
SELECT {_DUE_COLUMNS}
FROM s {_SENDABLE_JOINS}
WHERE s.bytes_before < %(bytes)s
ORDER BY s.next_run_at, s.id
"""

_LOCK_OLDEST, _LOCK_OLDEST_OTHERS, _LOCK_THESE = (
    _LOCK_DUE.format(due=_DUE_LONGEST.format(which=which))
    for which in ("true", "id <> ALL(%(postponed)b::bigint[])", "id = ANY(%(ids)b::bigint[])")
)
# Schedules that can be planned before their time: no end, and no earlier run whose outcome matters.
_LOCK_AHEAD = _LOCK_DUE.format(
    due=_OF_EACH_ORGANIZATION.format(
        which="repeats = -1 AND overlap = 'allow' AND (cron, every, execution_frequency) <> ('', '', 0)"
        " AND id <> ALL(%(left)b::bigint[])"
    )
)

# A row that a sender has claimed stays, because its time has come by the database's clock. There may be several rows if
# that clock has stepped back.
_WITHDRAW = """
WITH unsent AS (
    SELECT d.id, s.id AS schedule_id
    FROM deliveries_queue d JOIN scheduling_scheduledexecution s ON s.uuid = d.source_uuid
    WHERE s.uuid = ANY(%(sources)b::uuid[]) AND s.is_active AND s.repeats = -1
      AND d.due_at > %(now)s AND d.kind = 'scheduled' AND d.attempt_count = 0
      AND d.lease IS NULL
    FOR UPDATE OF d {if_locked}
), withdrawn AS (
    DELETE FROM deliveries_queue d USING unsent WHERE d.id = unsent.id RETURNING unsent.schedule_id AS id, d.due_at
), earliest AS (
    SELECT id, min(due_at) AS due_at FROM withdrawn GROUP BY id
)
UPDATE scheduling_scheduledexecution s SET next_run_at = earliest.due_at
FROM earliest WHERE s.id = earliest.id
RETURNING s.id, s.next_run_at
"""
_WITHDRAW_ALL = _WITHDRAW.format(if_locked="")
_WITHDRAW_FREE = _WITHDRAW.format(if_locked="SKIP LOCKED")

_VIEW = f"""
SELECT {_DUE_COLUMNS} FROM scheduling_scheduledexecution s {_SENDABLE_JOINS} WHERE s.id = %(id)s
"""

# A slot that is already in the queue stays as it is, so it is written once, however often it is found due.
_INSERT_SLOTS = """
INSERT INTO deliveries_queue (
    id, organization_id, command_id, user_id, kind, source_uuid, destination, due_at, slot_count, state, reason, url,
    origin, headers, timeout, schedule_name, body, attempt_count, max_attempts, next_attempt_at, expires_at, attempts,
    created_at, correlation_id
)
SELECT v.id, s.organization_id, s.command_id, s.owner_id, %(kind)s, s.uuid, '', v.due_at, 1, 'pending', '', v.url,
       v.origin, CASE WHEN s.headers = '{}' OR s.headers_origin <> v.origin THEN '' ELSE s.headers END, s.timeout,
       s.name, COALESCE(%(payload)s::text, s.payload), 0, COALESCE(s.max_attempts, %(max_attempts)s),
       CASE WHEN NOT %(wait)s THEN greatest(v.due_at, %(now)s) END,
       %(expires)s + greatest(s.max_attempts - %(max_attempts)s, 0) * %(longest_last_wait)s, '', %(now)s,
       COALESCE(
           %(correlation_id)s::text, CASE WHEN (s.cron, s.execution_frequency) = ('', 0) THEN s.correlation_id END
       )
FROM unnest(
    %(ids)b::uuid[], %(schedules)b::bigint[], %(due_at)b::timestamptz[], %(urls)b::text[], %(origins)b::text[]
) AS v(id, schedule_id, due_at, url, origin)
JOIN scheduling_scheduledexecution s ON s.id = v.schedule_id
ON CONFLICT (source_uuid, due_at, destination) DO NOTHING
"""


# Every slot since the schedule's timing began is in the ledger, so its latest row ends just before the new slots.
_EXTEND_LATEST = """
WITH latest AS (
    SELECT d.id, d.due_at, v.last_due_at, v.slot_count
    FROM unnest(
        %(schedules)b::bigint[], %(first)b::timestamptz[], %(last)b::timestamptz[], %(counts)b::bigint[],
        %(reasons)b::text[]
    ) AS v(schedule_id, due_at, last_due_at, slot_count, reason)
    JOIN scheduling_scheduledexecution s ON s.id = v.schedule_id
    CROSS JOIN LATERAL (
        SELECT id, state, reason, due_at FROM deliveries_delivery
        WHERE source_uuid = s.uuid AND kind = 'scheduled' AND due_at < v.due_at
        ORDER BY due_at DESC LIMIT 1
    ) d
    WHERE d.state = 'skipped' AND d.reason = v.reason AND d.due_at > s.effective_from
), free AS (
    SELECT d.id FROM deliveries_finished d JOIN latest ON latest.id = d.id AND latest.due_at = d.due_at
    FOR UPDATE OF d SKIP LOCKED
)
UPDATE deliveries_finished d
SET last_due_at = latest.last_due_at, slot_count = d.slot_count + latest.slot_count, finished_at = %(now)s
FROM latest JOIN free ON free.id = latest.id
WHERE d.id = latest.id AND d.due_at = latest.due_at
RETURNING d.source_uuid
"""


class _Owned(Protocol):
    @property
    def uuid(self) -> UUID: ...
    @property
    def organization_id(self) -> int: ...
    @property
    def command_id(self) -> int: ...
    @property
    def owner_id(self) -> int | None: ...


def lock_due(
    *, now: datetime, limit: int, max_bytes: int, ids: Sequence[int] | None = None, postponed: Sequence[int] = ()
) -> list[DueSchedule]:
    """Locks due schedules: those of `ids` if given, or else all but the postponed ones.

    Returns the ones due longest whose payloads fit into `max_bytes`.
    """
    oldest = _LOCK_OLDEST_OTHERS if postponed else _LOCK_OLDEST
    statement = oldest if ids is None else _LOCK_THESE
    parameters = {"now": now, "limit": limit, "bytes": max_bytes, "ids": ids, "postponed": list(postponed)}
    return rows_as(DueSchedule, statement, parameters)


def lock_due_soon(*, due_at: datetime, left: Sequence[int], limit: int, max_bytes: int) -> list[DueSchedule]:
    """Locks schedules that will be due at `due_at` and can be planned before that, except those in `left`.

    Returns those whose payloads fit into `max_bytes`, the same number of each organization.
    """
    return rows_as(DueSchedule, _LOCK_AHEAD, {"now": due_at, "left": left, "limit": limit, "bytes": max_bytes})


def withdraw_ahead(sources: Sequence[UUID], *, now: datetime, waits: bool) -> dict[int, datetime]:
    """Withdraws the slots of these schedules that were written ahead and are still to come.

    The caller holds the schedules' locks. If somebody else has locked a row, it is waited for if `waits`, and otherwise
    skipped. Returns the restored next run of each schedule that had such a slot, by the schedule's id.
    """
    return dict(rows_of(_WITHDRAW_ALL if waits else _WITHDRAW_FREE, {"sources": list(sources), "now": now}))


def view_as_due(pk: int) -> DueSchedule:
    """Returns one schedule as the dispatcher sees it, whether it is due or not."""
    (row,) = rows_as(DueSchedule, _VIEW, {"id": pk})
    return row


def insert_slots(
    slots: Sequence[Slot],
    *,
    now: datetime,
    kind: Kind = Kind.SCHEDULED,
    wait: bool = False,
    payload: str | None = None,
) -> list[UUID]:
    """Writes the ledger rows of slots to send: at their time, or with `wait` once the run before them has ended.

    `payload` is JSON text that is sent instead of the schedules' own. Returns the ids of the rows.
    """
    if not slots:
        return []
    schedules, due_at, urls, origins = zip(*slots, strict=True)
    ids = [new_ledger_id() for _ in slots]
    execute(
        _INSERT_SLOTS,
        {
            "ids": ids,
            "schedules": list(schedules),
            "due_at": list(due_at),
            "urls": list(urls),
            "origins": list(origins),
            "kind": kind,
            "correlation_id": current_correlation_id(),
            "max_attempts": default_attempts(),
            "longest_last_wait": longest_last_wait(settings.DELIVERY_RETRY_DELAYS),
            "expires": now + settings.DELIVERY_EXPIRES_AFTER,
            "now": now,
            "wait": wait,
            "payload": payload,
        },
    )
    remove_finished_slots(ids)
    return ids


def extend_latest(skipped: Sequence[tuple[DueSchedule, SkippedSlots]], *, now: datetime) -> set[UUID]:
    """Adds skipped slots to the schedule's latest row, if that row stands for slots that were skipped for the same
    reason. There is one entry for each schedule at most.

    Returns the UUIDs of the schedules whose slots need no row of their own. A row that somebody has locked is not
    changed.
    """
    if not skipped:
        return set()
    parameters = {
        "now": now,
        "schedules": [schedule.id for schedule, _ in skipped],
        "first": [each.due_at for _, each in skipped],
        "last": [each.last_due_at for _, each in skipped],
        "counts": [each.slot_count for _, each in skipped],
        "reasons": [each.reason for _, each in skipped],
    }
    return {uuid for (uuid,) in rows_of(_EXTEND_LATEST, parameters)}


def skipped_row(schedule: _Owned, skipped: SkippedSlots) -> NewRow:
    """Returns the ledger row for slots that are not sent."""
    return NewRow(
        organization_id=schedule.organization_id,
        command_id=schedule.command_id,
        user_id=schedule.owner_id,
        kind=Kind.SCHEDULED,
        source_uuid=schedule.uuid,
        due_at=skipped.due_at,
        skipped=skipped.reason,
        last_due_at=skipped.last_due_at if skipped.slot_count > 1 else None,
        slot_count=skipped.slot_count,
    )
