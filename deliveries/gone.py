"""Decides where to look for deliveries that were answered 410 Gone.

Deliverers only record the answer. The apps above find it in the ledger and act on it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

from commands_platform.lib import clock

MAX_GONE_AT_ONCE = 100
_MAX_SECONDS_AT_ONCE = 0.2

_USUALLY = timedelta(minutes=2)
# Once a minute a look goes further back, to find rows that were locked before, or that came while housekeeping was
# down.
_AT_MOST = timedelta(days=1)
_FAR_EVERY_SECONDS = 60.0


@dataclass(slots=True)
class Lookback:
    """How far back one process looks, and when it last looked further."""

    _next_far_at: float = 0.0

    def since(self) -> datetime:
        """Returns the instant from which the next look reads."""
        is_far = time.monotonic() >= self._next_far_at
        if is_far:
            self._next_far_at = time.monotonic() + _FAR_EVERY_SECONDS
        return clock.now() - (_AT_MOST if is_far else _USUALLY)


class _HasId(Protocol):
    @property
    def id(self) -> int: ...


_Found = TypeVar("_Found", bound=_HasId)


@dataclass(slots=True)
class GoneWalk:
    """A walk over schedules or hooks whose receiver is gone, by their ids, in portions.

    It goes on where it was, so those that somebody has locked do not hide the ones after them.
    """

    _after: int = 0

    def walk_on(self, *, find: Callable[[int], Sequence[_Found]], end: Callable[[_Found], bool]) -> int:
        """Walks on for a fraction of a second, by one portion at least. Returns how many it has ended.

        `find` returns a portion of those after an id. `end` returns False for one that it had to leave.
        """
        count = 0
        ends_at = time.monotonic() + _MAX_SECONDS_AT_ONCE
        while True:
            found = find(self._after)
            count += sum(map(end, found))
            is_through = len(found) < MAX_GONE_AT_ONCE
            self._after = 0 if is_through else found[-1].id
            if is_through or time.monotonic() >= ends_at:
                return count
