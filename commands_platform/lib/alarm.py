"""An alarm clock inside a process, for a worker that must not wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta

_MIN_WAIT = timedelta(milliseconds=20)


class Alarm:
    """Calls `ring` in its own thread at the earliest time that it was set to, and then forgets all times.

    It is lost if its process ends. Two calls are at least 20 ms apart.
    """

    def __init__(self, ring: Callable[[], object]) -> None:
        self._ring = ring
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._rings_at = 0.0

    def set(self, left: timedelta) -> None:
        """Rings after the time `left`, or earlier if it is already set to an earlier time."""
        seconds = max(left, _MIN_WAIT).total_seconds()
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
            # If it was set to an earlier time at this very moment, the other timer rings.
            if threading.current_thread() is not self._timer:
                return
            self._timer = None
        self._ring()
