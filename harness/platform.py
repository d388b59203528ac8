"""The whole platform as operators run it, with its web to call."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from commands_platform.local.ports import free_port
from commands_platform.local.servers import EmbeddedServers
from harness.processes import PlatformProcesses


@dataclass(frozen=True)
class Reply:
    status: int
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class RunningPlatform(PlatformProcesses):
    """Those of web, beat, dispatcher and deliverer that are started."""

    def __init__(self, directory: Path, servers: EmbeddedServers, environment: Mapping[str, str]) -> None:
        self.port = free_port()
        super().__init__(directory, servers, {"PORT": str(self.port), **environment})

    def call(self, method: str, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None) -> Reply:
        """Sends one request to the web and returns its answer, whatever its status is."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", **(headers or {})},
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=15) as response:  # noqa: S310
                return Reply(response.status, response.read())
        except urllib.error.HTTPError as error:
            with error:
                return Reply(error.code, error.read())

    def is_ready(self) -> bool:
        try:
            return self.call("GET", "/readyz").status == 200
        except OSError:
            return False

    def is_alive(self) -> bool:
        try:
            return self.call("GET", "/healthz").status == 200
        except OSError:
            return False

    def wait_until_alive(self) -> None:
        """Returns when the web answers. The other processes need not run."""
        wait_until(self.is_alive, timeout=60, wanted=lambda: f"alive; its log:\n{self.log_tail()}")

    def wait_until_ready(self, *, timeout: float = 60) -> None:
        wait_until(self.is_ready, timeout=timeout, wanted=lambda: f"ready; its log:\n{self.log_tail()}")


def wait_until(condition: Callable[[], Any], *, timeout: float = 20, wanted: Callable[[], str] = lambda: "so") -> None:
    """Returns as soon as `condition()` is true. Raises AssertionError if that takes too long."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"It did not become {wanted()}")
        time.sleep(0.05)
