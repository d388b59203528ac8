"""Tracks since when dispatchers have looked for due schedules without a gap.

A slot that becomes due while they look is late if it is dispatched later, however long that takes. Only a slot that
became due in a gap can have been missed. Every dispatcher notes its looks in one row of the database, at most once a
second. So a dispatcher that starts knows about the looks of the others, and about those before a restart.

Nobody waits for that row. A dispatcher that finds it locked relies on its own looks, and notes them when it can.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache

from commands_platform.lib import clock
from commands_platform.lib.database.statements import execute, rows_of

# If two looks are further apart than this, there is a gap: the server was down, or nothing made it look.
MAX_GAP = timedelta(seconds=5)
_LOOK_NOTED_EVERY = timedelta(seconds=1)
# The end of a look is noted only if it took this long.
_LONG_LOOK_SECONDS = 1.0

# `since` is when this process's own unbroken looks began. The commit does not wait for the disk, because a crash of the
# database is a gap anyway. After a clock has stepped back, no time in the row may lie in the future.
_NOTE_LOOK = """
WITH own AS (
    SELECT %(since)s::timestamptz AS since, %(now)s::timestamptz AS now
), known AS (
    SELECT u.id, CASE WHEN own.since > u.looked_at + %(max_gap)s THEN own.since
                      ELSE least(u.up_since, own.since) END AS up_since
    FROM scheduling_dispatcheruptime u, own
), free AS (
    SELECT id FROM scheduling_dispatcheruptime FOR UPDATE SKIP LOCKED
), noted AS (
    UPDATE scheduling_dispatcheruptime u SET up_since = known.up_since, looked_at = own.now
    FROM free, known, own
    WHERE u.id = free.id AND (SELECT set_config('synchronous_commit', 'off', true)) = 'off'
)
SELECT up_since FROM known
"""

_NOTE_FIRST_LOOK = """
INSERT INTO scheduling_dispatcheruptime (id, up_since, looked_at) VALUES (1, %(since)s, %(now)s) ON CONFLICT DO NOTHING
"""


@dataclass(slots=True)
class _Looks:
    """The looks of this process."""

    since: datetime | None = None
    last_at: datetime | None = None
    noted_at: datetime | None = None
    up_since: datetime | None = None

    def note(self, now: datetime) -> datetime:
        if self.since is None or self.last_at is None or now - self.last_at > MAX_GAP:
            self.since, self.noted_at = now, None
        elif now < self.last_at:
            # The clock has stepped back.
            self.since, self.noted_at = min(self.since, now), None
        if self.up_since is None or self.noted_at is None or now - self.noted_at >= _LOOK_NOTED_EVERY:
            self.up_since, self.noted_at = _note(self.since, now), now
        # Not before: while the database is away nothing is found, so these are no looks.
        self.last_at = now
        return self.up_since


@cache
def _process_looks() -> _Looks:
    return _Looks()


@contextmanager
def look(now: datetime) -> Iterator[datetime]:
    """Notes a look that begins now, and yields the time since which there has been no gap.

    A look that takes long is not a gap. A look that fails may be the beginning of one.
    """
    looks, began = _process_looks(), time.monotonic()
    yield looks.note(now)
    if time.monotonic() - began > _LONG_LOOK_SECONDS:
        looks.last_at = clock.now()


def _note(since: datetime, now: datetime) -> datetime:
    parameters = {"since": since, "now": now, "max_gap": MAX_GAP}
    rows = rows_of(_NOTE_LOOK, parameters)
    if not rows:
        execute(_NOTE_FIRST_LOOK, parameters)
        return since
    (up_since,) = rows[0]
    assert isinstance(up_since, datetime)  # noqa: S101 (the column's type)
    return up_since
