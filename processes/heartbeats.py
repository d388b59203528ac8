"""Reports that a process is alive, and tells which processes are.

Every process writes its own row every second, in a thread that does nothing else. So a process that works for a long
time is not taken for dead, and `worked_at` says how long ago it began its latest work.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import Error, OperationalError, connection

from commands_platform.lib.database.availability import is_locked
from commands_platform.lib.database.statements import execute, rows_as, rows_of
from processes.models import Role
from processes.standing import Standing

REPORT_EVERY = timedelta(seconds=1)
_MIN_PAUSE_SECONDS = 0.05
# A gap between two reports that is longer than this may be due to the database.
MAX_REPORT_GAP = timedelta(seconds=2.5)
# The health checks report a process as dead after this silence. They are patient, because every process is silent for
# some seconds after a restart of the database.
MAX_SILENCE = timedelta(seconds=10)
# Rows of dead processes are kept for this long, so that operators see what is missing.
KEEP_DEAD = timedelta(hours=1)

# The commit does not wait for the disk, because a crash of the database would only lose a report.
_REPORT = """
INSERT INTO processes_process AS p
    (id, role, host, pid, version, started_at, seen_at, steady_since, worked_at)
SELECT %(id)s, %(role)s, %(host)s, %(pid)s, %(version)s, statement_timestamp() - %(running_for)s,
       statement_timestamp(), statement_timestamp(), statement_timestamp() - %(worked_ago)s::interval
WHERE (SELECT set_config('synchronous_commit', 'off', true)) = 'off'
  AND (SELECT set_config('lock_timeout', '500ms', true)) = '500ms'
ON CONFLICT (id) DO UPDATE
SET seen_at = EXCLUDED.seen_at, worked_at = EXCLUDED.worked_at,
    steady_since = CASE
        WHEN EXCLUDED.seen_at BETWEEN p.seen_at - %(max_gap)s AND p.seen_at + %(max_gap)s THEN p.steady_since
        ELSE EXCLUDED.seen_at
    END
RETURNING taken_over_at
"""
_LOOK = "SELECT taken_over_at FROM processes_process WHERE id = %(id)s"
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
    """Reports every second that this process is alive, until it is stopped."""

    def __init__(self, role: Role, *, version: str, standing: Standing | None = None) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self._standing = standing or Standing()
        self._standing.expect_reports()
        self._role = role
        self._version = version
        self._began = time.monotonic()
        self._worked: float | None = None
        self._taken_over_at: datetime | None = None
        self._stopped = threading.Event()

    def note_work(self) -> None:
        """Notes that this process begins some work now."""
        self._worked = time.monotonic()

    def run(self) -> None:
        while True:
            began = time.monotonic()
            self._report(began)
            left = began + REPORT_EVERY.total_seconds() - time.monotonic()
            if self._stopped.wait(max(left, _MIN_PAUSE_SECONDS)):
                break
        self._leave()

    def stop(self) -> None:
        """Removes the row of this process. Waits for that a short time, because the database may be away."""
        self._stopped.set()
        self.join(timeout=1)

    def _report(self, began: float) -> None:
        try:
            taken_over_at = self._write(began)
        except Error:
            # Other threads log that the database is away.
            return
        finally:
            # A connection of a pool must not be kept from the threads that work.
            connection.close()
        if taken_over_at != self._taken_over_at:
            # The process was frozen or cut off. Its claims until now may belong to others.
            self._taken_over_at = taken_over_at
            self._standing.expect_reports()
        self._standing.note_report(began=began)

    def _write(self, now: float) -> datetime | None:
        """Writes a report. Returns when others took over what this process held, or None if they never did."""
        parameters = {
            "id": self._standing.id,
            "role": self._role.value,
            "host": socket.gethostname()[:255],
            "pid": os.getpid(),
            "version": self._version,
            "running_for": timedelta(seconds=now - self._began),
            "worked_ago": None if self._worked is None else timedelta(seconds=now - self._worked),
            "max_gap": MAX_REPORT_GAP,
        }
        try:
            rows = rows_of(_REPORT, parameters)
        except OperationalError as error:
            # While another session has locked the row, nobody can take over from this process either.
            rows = rows_of(_LOOK, {"id": self._standing.id}) if is_locked(error) else []
            if not rows:
                raise
        return rows[0][0]  # type: ignore[no-any-return]

    def _leave(self) -> None:
        try:
            execute(_LEAVE, {"id": self._standing.id})
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
