"""Waits for a started platform to become ready, and reports the progress."""

from __future__ import annotations

import http.client
import threading
import time
from contextlib import suppress

from django.conf import settings

# The time between two reports of a slow start.
_REPORT_EVERY_SECONDS = 15


class Readiness(threading.Thread):
    """Requests /readyz until it answers 200, in its own thread. Another thread shows the output of the processes."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(daemon=True)
        self._host = host
        self._port = port
        # The web refuses an unknown Host even for /readyz.
        self._host_header = next((name for name in settings.ALLOWED_HOSTS if name.strip("*.") == name), "localhost")
        self._is_ready = threading.Event()
        self._is_reported = False
        self._last_answer = "no answer"
        self._next_report = time.monotonic() + _REPORT_EVERY_SECONDS

    def run(self) -> None:
        while not self._is_ready.is_set():
            with suppress(OSError, http.client.HTTPException):
                self._ask()
            time.sleep(0.1)

    def became_ready(self) -> bool:
        """Returns true once, at the first call after the platform became ready."""
        if self._is_reported or not self._is_ready.is_set():
            return False
        self._is_reported = True
        return True

    def progress_report(self) -> str | None:
        """Returns a report about a slow start every few seconds, and None in between."""
        if self._is_ready.is_set() or time.monotonic() < self._next_report:
            return None
        self._next_report = time.monotonic() + _REPORT_EVERY_SECONDS
        return f"Not ready yet: /readyz says {self._last_answer}"

    def _ask(self) -> None:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=2)
        try:
            connection.request("GET", "/readyz", headers={"Host": self._host_header})
            response = connection.getresponse()
            self._last_answer = f"{response.status} {response.read(500).decode(errors='replace').strip()}"
            if response.status == http.HTTPStatus.OK:
                self._is_ready.set()
        finally:
            connection.close()
