"""Keeps the floor of the queue: no delivery that may be claimed waits for a time before it.

A look at the queue begins at the floor, and not at its oldest entry. While somebody keeps an old snapshot open, for
example a forgotten transaction or a long backup, PostgreSQL cannot remove the entries of rows that have left the queue,
and each look would read all of them.

The floor is the value of a sequence, in microseconds since 1970. A sequence has no old versions that would have to be
skipped. If nobody raises it, looks only take longer.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from functools import cache

from commands_platform.lib import clock
from commands_platform.lib.database.statements import rows_of

FLOOR_SQL = "(SELECT 'epoch'::timestamptz + last_value * interval '1 microsecond' FROM deliveries_queue_floor)"

# A row is written with a time that is at most a moment ago, so this is how long its transaction may take. If it takes
# longer, the row is seen when the floor is set again.
_MARGIN = timedelta(seconds=5)
# The look for the floor reads all entries. It may use this share of one process's time.
_MAX_SHARE = 0.05

_SET_FLOOR = """
SELECT setval('deliveries_queue_floor', GREATEST(0, floor(1e6 * extract(epoch FROM LEAST(
    %(before)s,
    (SELECT next_attempt_at FROM deliveries_queue WHERE next_attempt_at IS NOT NULL ORDER BY next_attempt_at LIMIT 1)
        - interval '1 microsecond'
)))::bigint))
"""


@dataclass
class _Pace:
    """The time before which this process does not look again."""

    next_look_at: float = 0.0


@cache
def _process_pace() -> _Pace:
    return _Pace()


def set_floor() -> None:
    """Sets the floor just below the oldest row of the queue. It rarely does so if that takes long."""
    started = time.monotonic()
    pace = _process_pace()
    if started < pace.next_look_at:
        return
    rows_of(_SET_FLOOR, {"before": clock.now() - _MARGIN})
    ended = time.monotonic()
    pace.next_look_at = ended + (ended - started) / _MAX_SHARE
