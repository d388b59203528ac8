"""Helpers that start the embedded servers in a directory and find their processes."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg

from commands_platform.local import leftovers
from commands_platform.local.servers import EmbeddedServers


@contextmanager
def make_home() -> Iterator[Path]:
    """Makes a temporary directory. Under root the servers run as another account, which cannot reach pytest's own."""
    with tempfile.TemporaryDirectory(prefix="commands-tests-") as home:
        yield Path(home)


def make_servers(directory: Path) -> EmbeddedServers:
    return EmbeddedServers(directory, shared_buffers="16MB")


def connect(servers: EmbeddedServers) -> psycopg.Connection[tuple[Any, ...]]:
    return psycopg.connect(servers.urls.database_url, autocommit=True)


def processes_of(directory: Path) -> list[psutil.Process]:
    return [
        *leftovers.servers_in(directory / "postgres" / "data", "postgres"),
        *leftovers.servers_in(directory / "valkey", "valkey-server"),
    ]


def await_no_processes_of(directory: Path, *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while found := processes_of(directory):
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
