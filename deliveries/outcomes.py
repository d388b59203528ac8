"""Writes to the queue after a claim, in SQL: records outcomes, releases claims, ends leases, and fails old deliveries.

Recording and releasing name the lease, so a sender that has lost it writes nothing. No statement waits for a row: each
leaves out the rows that another session has locked. So none can be part of a deadlock, whatever the order of its rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import NamedTuple
from uuid import UUID

from django.db import OperationalError, transaction
from psycopg.errors import LockNotAvailable

from commands_platform.lib import clock
from commands_platform.lib.clock import NOW_SQL
from commands_platform.lib.database.availability import retry_if_moved
from commands_platform.lib.database.statements import execute, rows_as, rows_of
from deliveries.attempts import Attempt
from deliveries.floor import FLOOR_SQL
from deliveries.lanes import Lane
from deliveries.leases import begun, leases_of
from deliveries.models import Kind, State
from deliveries.queue import Claim
from deliveries.signals import deliveries_failed, runs_started, runs_unsent
from deliveries.turns import start_waiting_runs


class Outcome(NamedTuple):
    """How a claim ended: the row's next state, and the attempt, or None if there was none."""

    id: UUID
    lease: UUID
    state: State
    reason: str = ""
    retry_in: timedelta | None = None
    status: int | None = None
    attempt: Attempt | None = None
    if_held_up: Outcome | None = None
    """The outcome to record if our own network turns out to be gone, or None for the same one."""


class Recorded(NamedTuple):
    """The number of outcomes that were written, and those whose rows another session has locked."""

    written: int
    locked: list[Outcome]


class _Written(NamedTuple):
    id: UUID
    state: str
    kind: str
    source_uuid: UUID
    attempt_count: int
    is_any_waiting: bool
    """Whether a run of any source waits for the run before it."""


_WRITTEN = """d.id, d.state, d.kind, d.source_uuid, d.attempt_count, (
    SELECT created_at FROM deliveries_queue WHERE next_attempt_at IS NULL
    ORDER BY created_at LIMIT 1
) IS NOT NULL AS is_any_waiting"""

# A cancellation that came while the request was in flight is noted in `reason`. It prevents a retry, not a success.
_RECORD = f"""
WITH v AS (
    SELECT * FROM unnest(
        %(ids)b::uuid[], %(leases)b::uuid[], %(states)b::text[], %(reasons)b::text[], %(retry_in)b::interval[],
        %(statuses)b::smallint[], %(attempts)b::text[]
    ) AS v(id, lease, state, reason, retry_in, status, attempt)
){{held}}
UPDATE deliveries_delivery d
SET state = CASE WHEN v.state = 'pending' AND d.reason <> '' THEN 'cancelled' ELSE v.state END,
    reason = CASE WHEN v.state = 'delivered' THEN '' WHEN v.state = 'pending' THEN d.reason ELSE v.reason END,
    next_attempt_at = CASE WHEN v.state = 'pending' AND d.reason = '' THEN {NOW_SQL} + v.retry_in END,
    finished_at = CASE WHEN v.state = 'pending' AND d.reason = '' THEN NULL ELSE {NOW_SQL} END,
    lease = NULL, leased_until = NULL,
    last_status = COALESCE(v.status, CASE WHEN v.attempt IS NULL THEN d.last_status END),
    attempts = d.attempts || COALESCE(v.attempt, ''),
    attempt_count = CASE WHEN v.attempt IS NULL THEN greatest(d.attempt_count - 1, 0) ELSE d.attempt_count END
FROM v
WHERE d.id = v.id AND d.lease = v.lease AND d.state = 'pending' AND {{condition}}
RETURNING {_WRITTEN}
"""

# The usual way: it locks no row twice, and gives up after a millisecond if another session has locked one of the rows.
_RECORD_ALL = _RECORD.format(held="", condition="(SELECT set_config('lock_timeout', '1ms', true)) = '1ms'")
# The other way leaves out the locked rows. It costs half as much again.
_RECORD_UNLOCKED = _RECORD.format(
    held=""", held AS (
    SELECT d.id FROM deliveries_queue d JOIN v ON d.id = v.id AND d.lease = v.lease
    FOR UPDATE OF d SKIP LOCKED
)""",
    condition="d.id IN (SELECT id FROM held)",
)

# Finds the rows that were not written although the lease is still ours, because somebody has locked them.
_STILL_HELD = """
SELECT id FROM deliveries_queue WHERE (id, lease) IN (SELECT * FROM unnest(%(ids)b::uuid[], %(leases)b::uuid[]))
"""

# An attempt that never began is not counted.
_RELEASE = """
UPDATE deliveries_queue
SET lease = NULL, leased_until = NULL, attempt_count = greatest(attempt_count - 1, 0)
WHERE id IN (
    SELECT id FROM deliveries_queue WHERE id = ANY(%(ids)b::uuid[]) AND lease = %(lease)s
    FOR UPDATE SKIP LOCKED
)
"""

_NOTE_BEGIN = """
UPDATE deliveries_queue SET lease = %(begun)s
WHERE id = (SELECT id FROM deliveries_queue WHERE id = %(id)s AND lease = %(lease)s FOR UPDATE SKIP LOCKED)
RETURNING id
"""

# The rows keep their leases, so a deliverer that was only frozen or cut off can still record an outcome if nobody has
# claimed its row yet. The claim still counts as lost, because the row may have killed its sender. But a row that was
# lost before counts only if its request has begun.
_END_LEASES = f"""
WITH held AS MATERIALIZED (
    SELECT id FROM deliveries_queue
    WHERE next_attempt_at <= {NOW_SQL} AND next_attempt_at > {FLOOR_SQL} AND lease BETWEEN %(first)s AND %(last)s
      AND leased_until > {NOW_SQL}
), free AS (
    SELECT d.id FROM deliveries_queue d JOIN held ON held.id = d.id
    WHERE d.lease BETWEEN %(first)s AND %(last)s
    FOR UPDATE OF d SKIP LOCKED
), ended AS (
    UPDATE deliveries_queue d
    SET leased_until = {NOW_SQL},
        attempt_count = d.attempt_count - CASE
            WHEN d.attempt_count - regexp_count(d.attempts, '\\n') > 1 AND right(d.lease::text, 1) = '0' THEN 1 ELSE 0
        END
    FROM free WHERE d.id = free.id
    RETURNING d.id
)
SELECT (SELECT count(*) FROM held), (SELECT count(*) FROM ended)
"""

# While an origin does not answer, its rows fail once they have waited longer than all retries would have taken.
_EXPIRE = f"""
UPDATE deliveries_delivery d
SET state = 'failed', reason = 'expired', next_attempt_at = NULL, finished_at = %(now)s, lease = NULL,
    leased_until = NULL
FROM (
    SELECT id FROM deliveries_queue
    WHERE organization_id = %(organization)s AND origin = %(origin)s
      AND next_attempt_at <= %(now)s AND next_attempt_at > {FLOOR_SQL} AND expires_at < %(now)s
      AND reason = '' AND (lease IS NULL OR leased_until <= %(now)s)
    ORDER BY next_attempt_at LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
) old
WHERE d.id = old.id AND d.state = 'pending'
RETURNING {_WRITTEN}
"""


def record(outcomes: Sequence[Outcome]) -> Recorded:
    """Writes the outcomes whose lease is still ours, in one statement, announces failures and starts waiting runs."""
    ids, leases, states, reasons, retry_in, statuses, attempts, _ = zip(*outcomes, strict=True)
    parameters = {
        "now": clock.replaced(),
        "ids": list(ids),
        "leases": list(leases),
        "states": list(states),
        "reasons": list(reasons),
        "retry_in": list(retry_in),
        "statuses": list(statuses),
        "attempts": [attempt and attempt.stored() for attempt in attempts],
    }
    has_news = State.FAILED in states or State.SKIPPED in states
    try:
        rows = retry_if_moved(lambda: _write(_RECORD_ALL, parameters, has_news=has_news))
    except OperationalError as error:
        if not isinstance(error.__cause__, LockNotAvailable):
            raise
        rows = retry_if_moved(lambda: _write(_RECORD_UNLOCKED, parameters, has_news=has_news))
    _start_waiting_runs(rows)
    if len(rows) == len(outcomes):
        return Recorded(len(rows), [])
    written = {row.id for row in rows}
    left = [outcome for outcome in outcomes if outcome.id not in written]
    return Recorded(len(rows), _still_held(left))


def _write(statement: str, parameters: Mapping[str, object], *, has_news: bool) -> list[_Written]:
    if not has_news:
        return rows_as(_Written, statement, parameters)
    with transaction.atomic():
        rows = rows_as(_Written, statement, parameters)
        # The announcements may wait for as long as any other statement of a worker.
        execute("SET LOCAL lock_timeout TO DEFAULT", {})
        _announce(rows)
    return rows


def _still_held(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Returns the outcomes whose lease is still ours."""
    parameters = {"ids": [each.id for each in outcomes], "leases": [each.lease for each in outcomes]}
    held = {id_ for (id_,) in rows_of(_STILL_HELD, parameters)}
    return [outcome for outcome in outcomes if outcome.id in held]


def _announce(rows: Sequence[_Written]) -> None:
    # A failed delivery of an event makes no further event. Otherwise a failing hook on failures would feed itself.
    failed = [row.id for row in rows if row.state == State.FAILED and row.kind != Kind.EVENT]
    if failed:
        deliveries_failed.send(sender=None, ids=failed)
    skipped = [row for row in rows if row.state == State.SKIPPED and row.kind == Kind.SCHEDULED]
    unsent = [row.id for row in skipped if not row.attempt_count]
    if unsent:
        runs_unsent.send(sender=None, ids=unsent)


def _start_waiting_runs(rows: Sequence[_Written]) -> None:
    if not rows or not rows[0].is_any_waiting:
        return
    if start_waiting_runs(limit=len(rows), sources=list({row.source_uuid for row in rows})):
        runs_started.send(sender=None)


def expire(*, lane: Lane, limit: int) -> int:
    """Fails up to `limit` deliveries of a lane that have waited too long. Returns the number of them."""
    parameters = {"now": clock.now(), "organization": lane.organization_id, "origin": lane.origin, "limit": limit}
    rows = retry_if_moved(lambda: _expire(parameters))
    _start_waiting_runs(rows)
    return len(rows)


@transaction.atomic
def _expire(parameters: Mapping[str, object]) -> list[_Written]:
    rows = rows_as(_Written, _EXPIRE, parameters)
    _announce(rows)
    return rows


def release(claims: Sequence[Claim]) -> None:
    """Releases claims that no request was made for. A row that somebody has locked becomes free when its lease ends."""
    by_lease: dict[UUID, list[UUID]] = {}
    for claim in claims:
        by_lease.setdefault(claim.lease, []).append(claim.id)
    for lease, ids in by_lease.items():
        retry_if_moved(partial(execute, _RELEASE, {"ids": ids, "lease": lease}))


def note_begin(claim: Claim) -> Claim | None:
    """Notes that the request of a suspect begins. Returns the claim with its new lease, or None if its lease ended."""
    lease = begun(claim.lease)
    parameters = {"id": claim.id, "lease": claim.lease, "begun": lease}
    rows = retry_if_moved(partial(rows_of, _NOTE_BEGIN, parameters))
    return claim._replace(lease=lease) if rows else None


def end_leases(holder: UUID) -> tuple[int, int]:
    """Ends the leases of a holder. Returns the number of its leases, and the number of those that were ended."""
    first, last = leases_of(holder)
    parameters = {"now": clock.replaced(), "first": first, "last": last}
    # Within the transaction of the caller, a try that failed must be undone alone.
    held, ended = retry_if_moved(transaction.atomic(lambda: rows_of(_END_LEASES, parameters)))[0]
    return held, ended
