"""Runs housekeeping chores in a thread of its own, so that no tick waits for one.

Every dispatcher has such a thread. A chore's row in the database says when it was last started, so that each is done
once in its time, however many dispatchers run.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import NamedTuple

from commands_platform.lib.database.statements import rows_of
from commands_platform.lib.metronome import Rhythm, TimedWork

# Clocks of hosts differ a little, and a thread wakes up a little late. The time in the row is the database's.
_TOLERANCE = 0.5

# Nobody waits for the row: if somebody else has locked it, the chore is just being started. After the clock of the
# database has stepped back, no time may lie in the future.
_BEGIN = """
WITH turn AS (
    SELECT name FROM processes_chorerun
    WHERE name = %(name)s AND (
        started_at <= statement_timestamp() - %(every)s OR started_at > statement_timestamp() + %(every)s
    )
    FOR UPDATE SKIP LOCKED
), started AS (
    UPDATE processes_chorerun c SET started_at = statement_timestamp() FROM turn WHERE c.name = turn.name
    RETURNING c.name
)
SELECT name FROM started
"""
_BEGIN_FIRST = """
INSERT INTO processes_chorerun (name, started_at) VALUES (%(name)s, statement_timestamp())
ON CONFLICT DO NOTHING RETURNING name
"""


class Chore(NamedTuple):
    """Some work that is done again and again, a small portion at a time. It skips rows that others have locked."""

    name: str
    rhythm: Rhythm
    work: Callable[[], object]

    def as_timed_work(self) -> TimedWork:
        return TimedWork(self.name, self.rhythm, lambda: _do_in_turn(self))


def _do_in_turn(chore: Chore) -> None:
    """Does the chore, unless a dispatcher has started it in its present turn."""
    every = timedelta(seconds=chore.rhythm.every * _TOLERANCE)
    parameters = {"name": chore.name, "every": every}
    if rows_of(_BEGIN, parameters) or rows_of(_BEGIN_FIRST, parameters):
        chore.work()
