"""Clients that harm a web server, because they are slow, impatient or greedy. They run in their own process."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.synchronize import Event

_PIECE_SECONDS = 0.5


@dataclass(frozen=True)
class Clients:
    """`count` clients of one of the KINDS. `headers` are whole lines of each request."""

    kind: str
    port: int
    count: int
    headers: str = ""


@contextmanager
def running(clients: Clients) -> Iterator[None]:
    """Runs the clients until the block ends."""
    context = multiprocessing.get_context("spawn")
    begun = context.Event()
    process = context.Process(target=_run, args=(clients, begun))
    process.start()
    try:
        if not begun.wait(30):
            raise RuntimeError("The hostile clients did not begin.")
        yield
    finally:
        # It has nothing to clean up, and its sockets are closed when it ends.
        process.terminate()
        process.join()


def _run(clients: Clients, begun: Event) -> None:
    asyncio.run(_run_all(clients, begun))


async def _run_all(clients: Clients, begun: Event) -> None:
    tasks = [asyncio.create_task(_again_and_again(clients)) for _ in range(clients.count)]
    await asyncio.sleep(1.0)
    begun.set()
    await asyncio.gather(*tasks)


async def _again_and_again(clients: Clients) -> None:
    client = KINDS[clients.kind]
    while True:
        with suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection("127.0.0.1", clients.port)
            try:
                await client(reader, writer, clients.headers)
            finally:
                writer.close()
        await asyncio.sleep(0.05)


async def _slow_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, headers: str) -> None:
    writer.write(f"{_POST}{headers}Content-Length: 10000\r\n\r\n".encode())
    while not reader.at_eof():
        writer.write(b" ")
        await writer.drain()
        with suppress(TimeoutError):
            await asyncio.wait_for(reader.read(1000), _PIECE_SECONDS)


async def _slow_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _headers: str) -> None:
    writer.write(b"GET /v1/me/ HTTP/1.1\r\nHost: localhost\r\n")
    while not reader.at_eof():
        writer.write(b"X-Slow: 1\r\n")
        await writer.drain()
        with suppress(TimeoutError):
            await asyncio.wait_for(reader.read(1000), _PIECE_SECONDS)


async def _slow_reader(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, headers: str) -> None:
    writer.write(f"GET /v1/platform/scheduling/ HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n".encode())
    while await reader.read(512):
        await asyncio.sleep(_PIECE_SECONDS)


async def _wrong_key(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, headers: str) -> None:
    """Sends a request once a second, on a connection that it keeps open."""
    while True:
        began = time.monotonic()
        writer.write(f"{_POST}{headers}Content-Length: 2\r\n\r\n{{}}".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(int(length.partition(b":")[2]))
        await asyncio.sleep(max(0.0, 1.0 - (time.monotonic() - began)))


_POST = "POST /v1/platform/storage/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"

KINDS = {"slow bodies": _slow_body, "slow heads": _slow_head, "slow readers": _slow_reader, "wrong keys": _wrong_key}
