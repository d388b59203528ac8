"""A granian that serves the kernel's paths on loopback, and a client that sends it raw bytes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_REPOSITORY = Path(__file__).resolve().parents[2]


@contextmanager
def kernel_server() -> Iterator[int]:
    """Yields the port of a running server."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
    server = subprocess.Popen(
        [
            *(sys.executable, "-m", "granian", "--interface", "asginl", "--no-ws"),
            *("--host", "127.0.0.1", "--port", str(number), "tests.lib.kernel_app:application"),
        ],
        cwd=_REPOSITORY,
        env={name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_until_it_listens(number, server)
        yield number
    finally:
        server.terminate()
        server.wait(10)


def _wait_until_it_listens(port: int, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    pytest.fail("The web server did not start.")


def exchange(port: int, *parts: bytes) -> tuple[int, Any]:
    """Sends a request in these parts. Returns the status and the JSON body of the answer."""
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        for part in parts:
            try:
                connection.sendall(part)
            except OSError:
                break  # The server has answered the unfinished request and closed the connection.
        with connection.makefile("rb") as answer:
            status = int(answer.readline().split()[1])
            headers: dict[bytes, bytes] = {}
            while (line := answer.readline().strip()) != b"":
                name, _, value = line.partition(b":")
                headers[name.lower()] = value.strip()
            body = answer.read(int(headers[b"content-length"]))
    return status, json.loads(body) if body else None


def head(first_line: str, **headers: str) -> bytes:
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in {"Host": "localhost", **headers}.items()]
    return "\r\n".join([f"{first_line} HTTP/1.1", *lines, "", ""]).encode("latin-1")


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


CHUNKED_POST = head("POST /v1/echo/", Content_Type="application/json", Transfer_Encoding="chunked")
