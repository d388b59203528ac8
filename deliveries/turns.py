"""Lets the runs of a source take turns where only one may be under way at a time.

A run that waits for the run before it is a pending row without a next attempt, so no sender can claim it. It starts
when an outcome is recorded and no other run of its source is being sent. A dispatcher also starts waiting runs whenever
it looks for work, for example those left by a sender that died.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from commands_platform.lib import clock
from commands_platform.lib.clock import NOW_SQL
from commands_platform.lib.database.availability import retry_if_moved
from commands_platform.lib.database.statements import rows_as, rows_of

# A retry that is not due yet counts as finished: it may wait for hours.
_IS_BEING_SENT = f"(d.next_attempt_at <= {NOW_SQL} OR d.leased_until > {NOW_SQL})"

_UNFINISHED = f"""
SELECT d.source_uuid, bool_or({_IS_BEING_SENT}) IS TRUE AS is_one_being_sent,
       bool_or(d.next_attempt_at IS NULL) AS is_one_waiting
FROM deliveries_queue d
WHERE d.source_uuid = ANY(%(sources)b::uuid[])
GROUP BY d.source_uuid
"""

_START = f"""
WITH next AS (
    SELECT w.ctid AS row FROM deliveries_queue w
    WHERE w.next_attempt_at IS NULL AND {{which}}
      AND NOT EXISTS (
          SELECT FROM deliveries_queue d
          WHERE d.source_uuid = w.source_uuid AND {_IS_BEING_SENT}
      )
    ORDER BY w.created_at LIMIT %(limit)s
    FOR UPDATE OF w SKIP LOCKED
)
UPDATE deliveries_queue d
SET next_attempt_at = {NOW_SQL}, expires_at = greatest(d.expires_at, {NOW_SQL} + (d.expires_at - d.created_at))
FROM next WHERE d.ctid = next.row
RETURNING d.id
"""
_START_ANY = _START.format(which="true")
_START_THESE = _START.format(which="w.source_uuid = ANY(%(sources)b::uuid[])")


class UnfinishedRuns(NamedTuple):
    """The runs of a source that are not finished."""

    source_uuid: UUID
    is_one_being_sent: bool
    """Whether one is due or in flight. A retry that is not due yet does not count."""
    is_one_waiting: bool
    """Whether one waits for the run before it."""


def unfinished_runs(sources: Sequence[UUID]) -> dict[UUID, UnfinishedRuns]:
    """Returns the unfinished runs of those sources that have any."""
    rows = rows_as(UnfinishedRuns, _UNFINISHED, {"now": clock.replaced(), "sources": list(sources)})
    return {row.source_uuid: row for row in rows}


def start_waiting_runs(*, limit: int, sources: Sequence[UUID] | None = None) -> int:
    """Starts runs, of these sources or of any, that wait for no other run any more. Returns their number."""
    parameters = {"now": clock.replaced(), "limit": limit, "sources": sources}
    statement = _START_ANY if sources is None else _START_THESE
    return len(retry_if_moved(lambda: rows_of(statement, parameters)))
