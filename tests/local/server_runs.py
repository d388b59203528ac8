"""Runs of the embedded servers in directories of their own."""

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
    """A directory that the account which runs the servers for root can reach. It cannot reach pytest's own ones."""
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
