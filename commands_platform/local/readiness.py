"""Waits for a started platform to become ready, and reports the progress."""

from __future__ import annotations

import http.client
import json
import threading
import time
from contextlib import suppress
from typing import Any

from django.conf import settings

# The time between two reports of a slow start.
_REPORT_EVERY_SECONDS = 15
# A part that is still missing after this time is taken to be away.
_DEGRADED_AFTER_SECONDS = 5


class Readiness(threading.Thread):
    """Asks /readyz until the platform works, in a thread, because the main one shows what the processes print."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(daemon=True)
        self._host = host
        self._port = port
        # The web refuses an unknown Host even for /readyz.
        self._host_header = next((name for name in settings.ALLOWED_HOSTS if name.strip("*.") == name), "localhost")
        self._is_ready = threading.Event()
        self._is_reported = False
        self._last_answer = "no answer"
        self._degraded_since: float | None = None
        self._lacks: list[str] = []
        self._next_report = time.monotonic() + _REPORT_EVERY_SECONDS

    def run(self) -> None:
        while not self._is_ready.is_set():
            with suppress(OSError, http.client.HTTPException, ValueError):
                self._ask()
            time.sleep(0.1)

    def became_ready(self) -> bool:
        """Returns true once, at the first call after the platform became ready."""
        if self._is_reported or not self._is_ready.is_set():
            return False
        self._is_reported = True
        return True

    def lacks(self) -> list[str]:
        """Returns the parts that were missing when the platform became ready. It works without them, but less well."""
        return self._lacks

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
            body = response.read(4096).decode(errors="replace").strip()
            self._last_answer = f"{response.status} {body}"
            if response.status == http.HTTPStatus.OK:
                self._note_answer(json.loads(body))
        finally:
            connection.close()

    def _note_answer(self, answer: dict[str, Any]) -> None:
        """Takes a platform for ready that lacks something, if that has not come after some seconds."""
        checks: dict[str, dict[str, str]] = answer["checks"]
        self._lacks = [f"{name} ({check['note']})" for name, check in checks.items() if check["status"] != "ok"]
        now = time.monotonic()
        if self._degraded_since is None:
            self._degraded_since = now
        if not self._lacks or now - self._degraded_since > _DEGRADED_AFTER_SECONDS:
            self._is_ready.set()
