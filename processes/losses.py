"""Finds processes that are dead or out of reach, so that others can take over what they held.

Ages are those of the database's clock. A process that has been silent for some seconds counts as lost only if another
process has reported without a gap for longer. Otherwise the database may have been away, and all processes were silent.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from django.db import transaction

from commands_platform.lib.database.statements import execute, rows_as, rows_of
from processes.heartbeats import MAX_REPORT_GAP
from processes.models import Role

# It must be longer than a process is sure of itself after a report, see `SURE_SECONDS`.
LOST_AFTER = timedelta(seconds=4)
# After an outage of the database, all processes have reported again within this time.
STEADY_FOR = timedelta(seconds=10)

_LOST = """
SELECT p.id, p.host, p.seen_at FROM processes_process p
WHERE p.role = %(role)s AND (p.taken_over_at IS NULL OR p.taken_over_at < p.seen_at)
  AND p.seen_at NOT BETWEEN statement_timestamp() - %(lost_after)s AND statement_timestamp() + %(lost_after)s
  AND EXISTS (
      SELECT FROM processes_process witness
      WHERE witness.seen_at BETWEEN statement_timestamp() - %(max_gap)s AND statement_timestamp() + %(max_gap)s
        AND witness.steady_since <= statement_timestamp() - %(steady_for)s
  )
"""
# Nobody waits for the row: if another session has locked it, that session may be taking over.
_LOCK = """
SELECT FROM processes_process WHERE id = %(id)s AND seen_at = %(seen_at)s FOR UPDATE SKIP LOCKED
"""
_MARK = "UPDATE processes_process SET taken_over_at = statement_timestamp() WHERE id = %(id)s"


class LostProcess(NamedTuple):
    """A process that is lost, and that nobody has taken over from since its last report."""

    id: UUID
    host: str
    seen_at: datetime


def lost_processes(role: Role) -> list[LostProcess]:
    """Returns the processes of the role that are lost, and that nobody has taken over from."""
    parameters = {
        "role": role.value,
        "lost_after": LOST_AFTER,
        "max_gap": MAX_REPORT_GAP,
        "steady_for": STEADY_FOR,
    }
    return rows_as(LostProcess, _LOST, parameters)


def take_over(process: LostProcess, release: Callable[[], bool]) -> None:
    """Calls `release`, unless the process has reported meanwhile or another one is taking over from it.

    `release` returns whether nothing is left. Otherwise the process still counts as lost.
    """
    with transaction.atomic():
        if rows_of(_LOCK, {"id": process.id, "seen_at": process.seen_at}) and release():
            execute(_MARK, {"id": process.id})
