"""Sets how often a sender looks for new work. Slots are due on whole seconds, so it looks more often around them."""

from __future__ import annotations

import time

# The usual time between two looks while requests are in flight. A look costs one probe of a small index.
POLL_SECONDS = 0.05
MAX_POLL_SECONDS = 0.5
# The rush around a whole second: when it begins and ends, and how often a sender looks during it.
_RUSH_BEFORE, _RUSH_AFTER = 0.02, 0.06
_RUSH_POLL_SECONDS = 0.004


def rush_left() -> float:
    """Returns the seconds until the rush around a whole second is over, or 0 between two of them."""
    return max(0.0, _RUSH_BEFORE + _RUSH_AFTER - _since_rush_began())


def until_second() -> float:
    """Returns the seconds until the next whole second."""
    return 1.0 - time.time() % 1.0


def until_next_look() -> float:
    """Returns how long an idle sender sleeps in a rush. The next look comes at once when the second begins."""
    left = until_second()
    return left if left <= 2 * _RUSH_POLL_SECONDS else _RUSH_POLL_SECONDS


def poll_seconds() -> float:
    """Returns how long to wait before the next look for new work, while requests are in flight."""
    return until_next_look() if rush_left() else min(POLL_SECONDS, 1.0 - _since_rush_began())


def _since_rush_began() -> float:
    """Returns the seconds since the latest rush began, less than one."""
    return (time.time() + _RUSH_BEFORE) % 1.0
