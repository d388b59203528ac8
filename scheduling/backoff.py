"""Remembers the schedules that this process could not plan, and when it may try each of them again."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

_FIRST_WAIT_SECONDS, _MAX_WAIT_SECONDS = 1.0, 60.0
# Beyond this number, schedules are simply tried at each look, so that a general fault cannot use up the memory.
_MAX_POSTPONED = 10_000


@dataclass(slots=True)
class _Failure:
    wait: float
    until: float


@dataclass(slots=True)
class PlanningBackoff:
    """Doubles a schedule's wait with each failure, from one second to one minute. A restart forgets all failures."""

    clock: Callable[[], float] = time.monotonic
    _failures: dict[int, _Failure] = field(default_factory=dict)

    def postpone(self, schedule_id: int) -> None:
        """Notes that a schedule could not be planned, and postpones its next try."""
        failure = self._failures.get(schedule_id)
        if failure is None and len(self._failures) >= _MAX_POSTPONED:
            return
        wait = min(failure.wait * 2, _MAX_WAIT_SECONDS) if failure else _FIRST_WAIT_SECONDS
        self._failures[schedule_id] = _Failure(wait, self.clock() + wait)

    def forget(self, schedule_id: int) -> None:
        """Notes that a schedule was planned."""
        if self._failures:
            self._failures.pop(schedule_id, None)

    def postponed(self) -> list[int]:
        """Returns the schedules that must not be tried yet."""
        if not self._failures:
            return []
        now = self.clock()
        # A schedule that was deleted or paused since is never planned again, so its entry would stay for ever.
        for schedule_id in [each for each, failure in self._failures.items() if failure.until + failure.wait < now]:
            del self._failures[schedule_id]
        return [schedule_id for schedule_id, failure in self._failures.items() if failure.until > now]


@cache
def process_backoff() -> PlanningBackoff:
    """Returns this process's backoff."""
    return PlanningBackoff()
