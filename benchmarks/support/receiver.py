"""A receiver of callbacks in its own process."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

import psutil

from harness.processes import ROOT


@dataclass(frozen=True)
class Counts:
    """Counts of the callbacks so far. `first` and `last` are Unix times, or 0 while none has come."""

    count: int
    hanging_count: int
    first: float
    last: float


@dataclass(frozen=True)
class TimedArrival:
    """One callback: when it was complete and when it was due, in Unix time, and its webhook-id (if `keep` is ids)."""

    at: float
    due: float
    webhook_id: str

    @property
    def lag(self) -> float:
        return self.at - self.due


class Receiver:
    """A context manager that answers 204 on `urls`, nothing on `hanging_urls`, and a byte a second on `trickling_urls`.

    On the ports of `urls` it does not answer requests for paths that begin with /hanging. `keep` is none, due or ids.
    """

    def __init__(
        self,
        *,
        answering: int = 1,
        hanging: int = 0,
        trickling: int = 0,
        keep: str = "due",
        delay: float = 0.0,
        failing: int = 0,
    ) -> None:
        self._command = [
            *(sys.executable, "-m", "benchmarks.support.sink", "--keep", keep, "--delay", str(delay)),
            *("--answering", str(answering), "--hanging", str(hanging), "--trickling", str(trickling)),
            *("--failing", str(failing)),
        ]
        self._process: subprocess.Popen[str] | None = None
        self.urls: list[str] = []
        self.hanging_urls: list[str] = []
        self.trickling_urls: list[str] = []

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        ports = self._read()
        self.urls = [f"http://127.0.0.1:{port}/callback" for port in ports["answering"]]
        self.hanging_urls = [f"http://127.0.0.1:{port}/callback" for port in ports["hanging"]]
        self.trickling_urls = [f"http://127.0.0.1:{port}/callback" for port in ports["trickling"]]
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is None:
            return
        # This closes its standard input, which ends it.
        self._process.communicate()
        self._process = None

    @property
    def url(self) -> str:
        return self.urls[0]

    @property
    def process(self) -> psutil.Process:
        assert self._process is not None
        return psutil.Process(self._process.pid)

    def counts(self) -> Counts:
        return Counts(**self._ask("stats"))

    def arrivals(self) -> list[TimedArrival]:
        """Returns the callbacks since the last reset, in the order in which they came."""
        return [
            TimedArrival(at, datetime.fromisoformat(due).timestamp() if due else 0.0, id_)
            for at, due, id_ in self._ask("arrivals")
        ]

    def sample(self) -> bytes:
        """Returns the first request since the last reset, with its head and body."""
        return bytes(self._ask("sample").encode("latin-1"))

    def reset(self) -> None:
        self._ask("reset")

    def _ask(self, command: str) -> Any:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> Any:
        assert self._process is not None
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())
