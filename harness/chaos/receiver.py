"""A receiver in its own process. It answers every POST with 204 after a wait, and logs the requests with their times.

The verdict compares its log with the ledger. So it uses none of the platform's code, and no fault restarts it.
"""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import UUID

import orjson

from commands_platform.local import launch
from harness.processes import ROOT

_ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"
_WRITE_EVERY_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request. `at` is in seconds of this machine's clock, and the rest comes from the request."""

    at: float
    webhook_id: UUID
    schedule: UUID
    due_at: datetime
    attempt: int


@dataclass(frozen=True, slots=True)
class RunningReceiver:
    """The URLs and the log file of a running receiver."""

    urls: list[str]
    log: Path

    @property
    def url(self) -> str:
        return self.urls[0]

    def count(self) -> int:
        return self.log.read_bytes().count(b"\n")

    def arrivals(self) -> list[Arrival]:
        """Returns the requests so far, in the order in which they came."""
        return [
            Arrival(at, UUID(webhook_id), UUID(schedule), datetime.fromisoformat(due_at), attempt)
            for at, webhook_id, schedule, due_at, attempt in map(orjson.loads, self.log.read_bytes().splitlines())
        ]


@contextmanager
def running_receiver(
    log: Path, *, answers_after: float, origins: int = 1, address: str = "127.0.0.1"
) -> Iterator[RunningReceiver]:
    """Runs a receiver on free ports. It waits up to `answers_after` seconds before each answer."""
    command = [sys.executable, "-m", "harness.chaos.receiver", str(log), str(answers_after), str(origins), address]
    with launch.start(command, death_signal=signal.SIGKILL, cwd=ROOT, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            ports = process.stdout.readline().split()
            yield RunningReceiver([f"http://{address}:{int(port)}" for port in ports], log)
        finally:
            process.terminate()


class _Connection(asyncio.Protocol):
    """A keep-alive connection with one request at a time, as libcurl uses it."""

    def __init__(self, lines: list[bytes], answers_after: float) -> None:
        self._lines = lines
        self._answers_after = answers_after
        self._received = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, body = bytes(self._received).partition(b"\r\n\r\n")
        if not separator:
            return
        headers = dict(line.split(b": ", 1) for line in head.lower().split(b"\r\n")[1:])
        if len(body) < int(headers[b"content-length"]):
            return
        run = orjson.loads(body)["scheduled_execution"]
        entry = [time.time(), headers[b"webhook-id"].decode(), run["uuid"], run["due_at"], run["attempt"]]
        self._lines.append(orjson.dumps(entry) + b"\n")
        self._received.clear()
        if self._answers_after:
            asyncio.get_running_loop().call_later(random.uniform(0.0, self._answers_after), self._answer)
        else:
            self._answer()

    def _answer(self) -> None:
        if self._transport is not None:
            self._transport.write(_ANSWER)


async def _serve(log: Path, answers_after: float, origins: int, address: str) -> None:
    lines: list[bytes] = []
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    servers = [
        await loop.create_server(lambda: _Connection(lines, answers_after), address, 0, backlog=1024)
        for _ in range(origins)
    ]
    with log.open("ab", buffering=0) as file:
        print(*(server.sockets[0].getsockname()[1] for server in servers), flush=True)
        while not stopped.is_set():
            await asyncio.sleep(_WRITE_EVERY_SECONDS)
            written = b"".join(lines)
            lines.clear()
            file.write(written)


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), sys.argv[4]))
