"""Reports that a process is alive, and tells which processes are.

Every process writes its own row every few seconds, in a thread that does nothing else. So a process that works for a
long time is not taken for a dead one, and `worked_at` says how long ago it began its latest work.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from datetime import timedelta
from typing import NamedTuple
from uuid import UUID, uuid4

from django.db import Error, connection

from commands_platform.lib.database.statements import execute, rows_as
from processes.models import Role

REPORT_EVERY = timedelta(seconds=2)
# A process that has not reported for this long is taken for dead.
MAX_SILENCE = timedelta(seconds=10)
# Rows of dead processes are kept for this long, so that operators see what is missing.
KEEP_DEAD = timedelta(hours=1)

# The commit does not wait for the disk, because a crash of the database would only lose a report.
_REPORT = """
INSERT INTO processes_process AS p (id, role, host, pid, version, started_at, seen_at, worked_at)
SELECT %(id)s, %(role)s, %(host)s, %(pid)s, %(version)s, statement_timestamp() - %(running_for)s,
       statement_timestamp(), statement_timestamp() - %(worked_ago)s::interval
WHERE (SELECT set_config('synchronous_commit', 'off', true)) = 'off'
ON CONFLICT (id) DO UPDATE SET seen_at = EXCLUDED.seen_at, worked_at = EXCLUDED.worked_at
"""
_LEAVE = "DELETE FROM processes_process WHERE id = %(id)s"
_PRUNE = """
DELETE FROM processes_process WHERE id IN (
    SELECT id FROM processes_process WHERE seen_at < statement_timestamp() - %(keep)s FOR UPDATE SKIP LOCKED
)
"""
_ROLES = """
SELECT role, count(*) FILTER (
           WHERE seen_at BETWEEN statement_timestamp() - %(max_silence)s AND statement_timestamp() + %(max_silence)s
       ) AS alive,
       statement_timestamp() - max(seen_at) AS seen_ago, statement_timestamp() - max(worked_at) AS worked_ago
FROM processes_process GROUP BY role
"""


class RoleHealth(NamedTuple):
    """The processes of one role: how many are alive, and the times since one reported and since one began work."""

    role: str
    alive: int
    seen_ago: timedelta
    worked_ago: timedelta | None


class Heartbeat(threading.Thread):
    """Reports every two seconds that this process is alive, until it is stopped."""

    def __init__(self, role: Role, *, version: str) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self._id: UUID = uuid4()
        self._role = role
        self._version = version
        self._began = time.monotonic()
        self._worked: float | None = None
        self._stopped = threading.Event()

    def note_work(self) -> None:
        """Notes that this process begins some work now."""
        self._worked = time.monotonic()

    def run(self) -> None:
        while True:
            self._report()
            if self._stopped.wait(REPORT_EVERY.total_seconds()):
                break
        self._leave()

    def stop(self) -> None:
        """Removes the row of this process. Waits for that a short time, because the database may be away."""
        self._stopped.set()
        self.join(timeout=1)

    def _report(self) -> None:
        now = time.monotonic()
        try:
            execute(
                _REPORT,
                {
                    "id": self._id,
                    "role": self._role.value,
                    "host": socket.gethostname()[:255],
                    "pid": os.getpid(),
                    "version": self._version,
                    "running_for": timedelta(seconds=now - self._began),
                    "worked_ago": None if self._worked is None else timedelta(seconds=now - self._worked),
                },
            )
        except Error:
            # Other threads log that the database is away.
            pass
        finally:
            # A connection of a pool must not be kept from the threads that work.
            connection.close()

    def _leave(self) -> None:
        try:
            execute(_LEAVE, {"id": self._id})
        except Error:
            # Its row says when it was seen last.
            pass
        finally:
            connection.close()


def health_by_role() -> dict[str, RoleHealth]:
    """Returns the health of each role that has a row."""
    return {row.role: row for row in rows_as(RoleHealth, _ROLES, {"max_silence": MAX_SILENCE})}


def remove_dead() -> None:
    """Removes the rows of processes that died long ago."""
    execute(_PRUNE, {"keep": KEEP_DEAD})
