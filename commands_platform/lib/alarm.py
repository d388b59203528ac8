"""An alarm clock inside a process, for a worker that must not sleep until then."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta

_SHORTEST = timedelta(milliseconds=20)


class Alarm:
    """Calls `ring`, in a thread of its own, at the earliest of the times that it was set to, and then at none.

    It is no more than a hint: with its process it is gone. Between two rings there are 20 ms at least.
    """

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._rings_at = 0.0

    def set(self, left: timedelta) -> None:
        """Rings when so much time is over, or earlier if it was to."""
        seconds = max(left, _SHORTEST).total_seconds()
        rings_at = time.monotonic() + seconds
        with self._lock:
            if self._timer is not None:
                if self._rings_at <= rings_at:
                    return
                self._timer.cancel()
            timer = threading.Timer(seconds, self._go_off)
            timer.daemon = True
            timer.start()
            self._timer, self._rings_at = timer, rings_at

    def _go_off(self) -> None:
        with self._lock:
            # One that was set to an earlier time at this moment is the one that counts.
            if threading.current_thread() is not self._timer:
                return
            self._timer = None
        self._ring()
