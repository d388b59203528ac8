"""Decides whether and when a failed attempt is retried."""

from __future__ import annotations

import random as random_module
from collections.abc import Callable, Sequence
from datetime import timedelta

DEFAULT_DELAYS = (
    timedelta(seconds=5),
    timedelta(seconds=30),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
)
DEFAULT_RETRY_AFTER_CAP = timedelta(hours=1)
JITTER = 0.2

GONE_STATUS = 410
TOO_MANY_REQUESTS = 429
_RETRYABLE_BELOW_500 = frozenset({408, 425, TOO_MANY_REQUESTS})


def is_retryable(status: int | None) -> bool:
    """Returns whether an attempt with this status may succeed later. None stands for no answer."""
    return status is None or status in _RETRYABLE_BELOW_500 or 500 <= status <= 599


def backoff(
    attempt: int,
    *,
    delays: Sequence[timedelta] = DEFAULT_DELAYS,
    random: Callable[[], float] = random_module.random,
) -> timedelta | None:
    """Returns the wait after `attempt` attempts (1 or more) have failed, up to 20 % longer than its delay.

    The last delay repeats, because the caller limits the number of attempts. Returns None if there are no delays at
    all. `random` returns a float in [0, 1).
    """
    if attempt < 1:
        raise ValueError("Attempts are counted from 1.")
    if not delays:
        return None
    return delays[min(attempt, len(delays)) - 1] * (1 + JITTER * random())


def longest_last_wait(delays: Sequence[timedelta]) -> timedelta:
    """Returns the longest wait before an attempt beyond those that `delays` lists, jitter included."""
    return delays[-1] * (1 + JITTER)


def hold_of(retry_after: timedelta | None, *, cap: timedelta = DEFAULT_RETRY_AFTER_CAP) -> timedelta:
    """Returns how long nothing is sent to an origin that answered 429: its `Retry-After`, up to the cap."""
    return min(max(retry_after or timedelta(0), timedelta(0)), cap)


def retry_delay(
    attempt: int,
    *,
    status: int | None,
    retry_after: timedelta | None,
    delays: Sequence[timedelta] = DEFAULT_DELAYS,
    random: Callable[[], float] = random_module.random,
    retry_after_cap: timedelta = DEFAULT_RETRY_AFTER_CAP,
) -> timedelta | None:
    """Returns the wait before attempt `attempt` + 1, or None if there is none.

    `retry_after` is the wait that the receiver asked for. It can make the wait longer, up to the cap, but never
    shorter.
    """
    wait = backoff(attempt, delays=delays, random=random)
    if wait is None or not is_retryable(status):
        return None
    return max(wait, min(retry_after or timedelta(0), retry_after_cap))
