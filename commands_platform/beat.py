"""Celery beat that ticks on whole seconds of the wall clock and keeps nothing on disk.

Any number of beats may run. A tick only tells a worker to look now, and a second look at the same time finds nothing.
"""

from __future__ import annotations

import math
import time
from datetime import datetime
from typing import Any

import structlog
from celery.beat import ScheduleEntry, Scheduler, SchedulingError
from celery.schedules import BaseSchedule, schedstate
from redis import RedisError

from commands_platform.lib import broker

logger = structlog.get_logger(__name__)


class WholeSeconds(BaseSchedule):
    """A schedule that is due `offset` seconds after each multiple of `every` seconds of the wall clock."""

    def __init__(self, every: int = 1, offset: float = 0.0) -> None:
        super().__init__()
        self.every = every
        self.offset = offset

    def is_due(self, last_run_at: datetime) -> schedstate:
        now = time.time()
        turn = self._turn(now)
        return schedstate(turn > self._turn(last_run_at.timestamp()), (turn + 1) * self.every + self.offset - now)

    def remaining_estimate(self, last_run_at: datetime) -> Any:
        raise NotImplementedError("A schedule of whole seconds has only is_due.")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, WholeSeconds) and (self.every, self.offset) == (other.every, other.offset)

    def __hash__(self) -> int:
        return hash((self.every, self.offset))

    def __reduce__(self) -> tuple[type[WholeSeconds], tuple[int, float]]:
        return WholeSeconds, (self.every, self.offset)

    def _turn(self, instant: float) -> int:
        return math.floor((instant - self.offset) / self.every)


class WholeSecondScheduler(Scheduler):
    """A scheduler for beat without a file. It wakes up when something is due, and notes a heartbeat for `/readyz`."""

    _broker_is_away = False

    def tick(self, *_: Any, **__: Any) -> float:
        """Sends the entries that are due. Returns the seconds until the next one."""
        for name, entry in list(self.schedule.items()):
            is_due, _wait = entry.is_due()
            if is_due:
                self.schedule[name] = next(entry)
                self.apply_entry(entry, producer=self.producer)
        # Computed again, because sending takes time.
        return min(self._wait_for(entry) for entry in self.schedule.values())

    @staticmethod
    def _wait_for(entry: ScheduleEntry) -> float:
        return float(entry.is_due()[1])

    def apply_entry(self, entry: ScheduleEntry, producer: Any = None) -> None:
        """Sends a tick. One that cannot be sent is dropped, because the next follows soon; an outage is logged once."""
        try:
            self.apply_async(entry, producer=producer, advance=False)
            broker.note_beat()
        except (SchedulingError, RedisError, OSError) as error:
            if not self._broker_is_away:
                logger.warning("tick_not_sent", error=type(error).__name__)
            self._broker_is_away = True
        else:
            if self._broker_is_away:
                logger.info("ticks_resumed")
            self._broker_is_away = False
