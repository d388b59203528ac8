"""Keeps a worker going when no hints come, because beat or the broker is away.

A worker runs its tasks in its main thread when hints tell it to. The pacemaker is a second thread of the same worker.
It runs the same tasks at the times at which beat would send them, but only while hints are missing. A lock makes sure
that one thread works at a time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial

import structlog

from commands_platform.lib.metronome import Metronome, TimedWork

logger = structlog.get_logger(__name__)

# Beat sends a hint at least once a second. When none has come for this long, the pacemaker begins.
MAX_SECONDS_WITHOUT_HINT = 1.5
# With several dispatchers, one of them may get no hint for some seconds although all is well.
_WARN_AFTER_SECONDS = 10.0


class Turns:
    """Lets the threads of a worker work one at a time, and tells when hints are missing."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._hinted_at = time.monotonic()
        self._are_missing = False
        self.on_work: Callable[[], None] = lambda: None
        # A deliverer that has nothing to do gets no hints.
        self.expects_hints = False

    def note_hint(self) -> None:
        """Notes that a hint has come in time, so the pacemaker is not needed."""
        self._hinted_at = time.monotonic()
        if self._are_missing:
            self._are_missing = False
            logger.info("ticks_are_back")

    @contextmanager
    def take(self) -> Iterator[None]:
        """Waits for the other thread, then works."""
        with self._lock:
            self.on_work()
            yield

    def work_without_hint(self, work: Callable[[], object]) -> None:
        """Works if hints are missing and no other thread is working."""
        if time.monotonic() - self._hinted_at < MAX_SECONDS_WITHOUT_HINT or not self._lock.acquire(blocking=False):
            return
        try:
            is_long = time.monotonic() - self._hinted_at > _WARN_AFTER_SECONDS
            if self.expects_hints and is_long and not self._are_missing:
                self._are_missing = True
                logger.warning("ticks_are_missing")
            self.on_work()
            work()
        finally:
            self._lock.release()


# The turns of this process.
turns = Turns()


def pacemaker(works: Iterable[TimedWork]) -> Metronome:
    """Returns the thread that does these works in their rhythms while hints are missing."""
    return Metronome("pacemaker", [each._replace(work=partial(turns.work_without_hint, each.work)) for each in works])
