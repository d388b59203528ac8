"""The tick: Celery beat on whole wall-clock seconds, with nothing kept on disk.

Any number of beats may run: a tick only says "look now", and looking twice finds nothing the second time.
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


class EverySecond(BaseSchedule):
    """Due at each whole second of the wall clock."""

    def is_due(self, last_run_at: datetime) -> schedstate:
        now = time.time()
        due = math.floor(now) > math.floor(last_run_at.timestamp())
        return schedstate(due, math.floor(now) + 1 - now)

    def remaining_estimate(self, last_run_at: datetime) -> Any:
        raise NotImplementedError("EverySecond answers by is_due alone.")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EverySecond)

    def __hash__(self) -> int:
        return hash(EverySecond)

    def __reduce__(self) -> tuple[type[EverySecond], tuple[()]]:
        return EverySecond, ()


class WholeSecondScheduler(Scheduler):
    """Beat's scheduler without a file, awake right after each whole second, with a heartbeat for `/readyz`."""

    _broker_is_away = False

    def tick(self, *_: Any, **__: Any) -> float:
        """Sends what is due and returns the seconds until the next whole second."""
        for name, entry in list(self.schedule.items()):
            due, _next = entry.is_due()
            if due:
                self.schedule[name] = next(entry)
                self.apply_entry(entry, producer=self.producer)
        now = time.time()
        return math.floor(now) + 1 - now

    def apply_entry(self, entry: ScheduleEntry, producer: Any = None) -> None:
        """A tick that cannot be sent is said once and dropped: the next one is a second away."""
        try:
            self.apply_async(entry, producer=producer, advance=False)
            broker.client().set(broker.BEAT_KEY, int(time.time()), ex=5)
        except (SchedulingError, RedisError, OSError) as error:
            if not self._broker_is_away:
                logger.warning("tick_not_sent", error=type(error).__name__)
            self._broker_is_away = True
        else:
            if self._broker_is_away:
                logger.info("ticks_resumed")
            self._broker_is_away = False
