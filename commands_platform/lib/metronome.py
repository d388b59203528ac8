"""Does work at certain times of the wall clock, in a thread."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import structlog
from django.db import close_old_connections, connection

from commands_platform.lib.database.availability import is_away, log_away

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Rhythm:
    """The times `offset` seconds after each multiple of `every` seconds of the wall clock."""

    every: float = 1
    offset: float = 0.0

    def turn(self, instant: float) -> int:
        """Returns the number of the latest of these times, for an instant in seconds since 1970."""
        return math.floor((instant - self.offset) / self.every)

    def seconds_to_next(self, now: float) -> float:
        return (self.turn(now) + 1) * self.every + self.offset - now


class TimedWork(NamedTuple):
    """Some work with its rhythm."""

    name: str
    rhythm: Rhythm
    work: Callable[[], object]


class Metronome(threading.Thread):
    """Does each work in its rhythm, one after the other. A turn that has passed meanwhile is left out.

    An error ends a turn, not the thread. If the clock steps back, the next turns come as usual. When somebody sets
    `bell`, it does every work at once.
    """

    def __init__(self, name: str, works: Sequence[TimedWork], *, bell: threading.Event | None = None) -> None:
        super().__init__(name=name, daemon=True)
        self._works = works
        self._bell = bell or threading.Event()
        self._is_ended = False

    def run(self) -> None:
        now = time.time()
        turns = [each.rhythm.turn(now) for each in self._works]
        while not self._is_ended:
            is_rung = self._bell.wait(self._seconds_to_next())
            self._bell.clear()
            for index, each in enumerate(self._works):
                turn = each.rhythm.turn(time.time())
                if (is_rung or turn != turns[index]) and not self._is_ended:
                    turns[index] = turn
                    self._do(each)
        connection.close()

    def stop(self) -> None:
        """Makes the thread end after the work in hand. Does not wait for that."""
        self._is_ended = True
        self._bell.set()

    def _seconds_to_next(self) -> float:
        now = time.time()
        return max(0.0, min(each.rhythm.seconds_to_next(now) for each in self._works))

    def _do(self, each: TimedWork) -> None:
        try:
            each.work()
        except Exception as error:
            # One failing work must not stop the others.
            if is_away(error):
                log_away(error, work=each.name)
            else:
                logger.exception("work_failed", work=each.name)
        finally:
            close_old_connections()


def stop_all(metronomes: Iterable[Metronome], *, patience: float) -> None:
    """Stops the threads at the same time. Waits up to `patience` seconds in all until they have ended."""
    give_up_at = time.monotonic() + patience
    stopped = list(metronomes)
    for metronome in stopped:
        metronome.stop()
    for metronome in stopped:
        metronome.join(max(0.0, give_up_at - time.monotonic()))
