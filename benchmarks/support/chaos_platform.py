"""The platform's workers as real processes that can be killed, frozen and started again, on servers that can be too.

The database's clock, by which every process of the platform lives, is replaced inside the database: a schema in front
of `pg_catalog` holds another `clock_timestamp()`, which adds a step. Production code knows nothing of it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from redis import Redis

from commands_platform.local import launch
from commands_platform.local.servers import EmbeddedServers

ROOT = Path(__file__).resolve().parents[2]

_CLOCK = """
CREATE SCHEMA chaos;
CREATE TABLE chaos.clock (step interval NOT NULL);
INSERT INTO chaos.clock VALUES ('0');
CREATE FUNCTION chaos.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
    AS 'SELECT pg_catalog.clock_timestamp() + (SELECT step FROM chaos.clock)';
ALTER DATABASE commands_platform SET search_path = chaos, pg_catalog, public;
"""


class ChaosPlatform:
    """Workers by the Procfile, told apart by kind and number: `deliverer.2`."""

    def __init__(self, directory: Path, servers: EmbeddedServers, environment: Mapping[str, str]) -> None:
        self.servers = servers
        self._directory = directory
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.frozen: set[str] = set()
        self._commands = dict(
            line.split(": ", 1) for line in (ROOT / "Procfile").read_text().splitlines() if ": " in line
        )
        self._environment = os.environ | {
            "COMMANDS_EMBEDDED": "true",
            "COMMANDS_LOCAL_DIR": str(directory),
            "DATABASE_URL": servers.urls.database_url,
            "REDIS_URL": servers.urls.redis_url,
            "REDIS_KEY_PREFIX": "chaos:",
            "DATABASE_POOL_SIZE": "4",
            "LOG_LEVEL": "WARNING",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            **environment,
        }

    @property
    def log(self) -> Path:
        return self._directory / "platform.log"

    def running(self, *kinds: str) -> list[str]:
        """Names of the workers of these kinds that are neither dead nor frozen."""
        return sorted(name for name in self._processes if name.partition(".")[0] in kinds and name not in self.frozen)

    def start(self, name: str) -> None:
        kind, _, number = name.partition(".")
        with self.log.open("ab") as log:
            self._processes[name] = launch.start(
                ["/bin/sh", "-c", self._commands[kind].replace(f"{kind}@%h", f"{kind}{number}@%h")],
                death_signal=signal.SIGKILL,
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def kill(self, name: str) -> None:
        """Ends it as the machine would: at once, without a word."""
        process = self._processes.pop(name)
        self.frozen.discard(name)
        process.kill()
        process.wait()

    def freeze(self, name: str) -> None:
        self._processes[name].send_signal(signal.SIGSTOP)
        self.frozen.add(name)

    def thaw(self, name: str) -> None:
        self.frozen.discard(name)
        self._processes[name].send_signal(signal.SIGCONT)

    def ended(self) -> list[str]:
        """Workers that have ended by themselves, which none should."""
        return [name for name, process in self._processes.items() if process.poll() is not None]

    def stop(self) -> None:
        for name in list(self.frozen):
            self.thaw(name)
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes.clear()

    def prepare(self, callback_url: str) -> None:
        """Makes an empty platform whose command's callbacks go there, and puts the clock in between."""
        command = [sys.executable, "-m", "benchmarks.support.chaos_load", callback_url]
        subprocess.run(command, cwd=ROOT, env=self._environment, stdout=subprocess.DEVNULL, check=True)
        self.query(_CLOCK)

    def query(self, statement: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.servers.urls.database_url, autocommit=True) as connection:
            cursor = connection.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    def now(self) -> datetime:
        """The time that the platform lives by."""
        ((instant,),) = self.query("SELECT clock_timestamp()")
        assert isinstance(instant, datetime)
        return instant

    def step_clock(self, by: timedelta) -> None:
        """Moves the platform's clock, for all of its processes at once."""
        self.query("UPDATE chaos.clock SET step = step + %s", [by])

    def flush_broker(self) -> None:
        with Redis.from_url(self.servers.urls.redis_url) as client:
            client.flushall()


@contextmanager
def chaos_platform(**environment: str) -> Iterator[ChaosPlatform]:
    """Durable servers, with nothing on them yet. All is gone afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="commands-chaos-"))
    # Durable: a commit that a crash forgets would be a slot that is written twice.
    servers = EmbeddedServers(directory, durable=True, shared_buffers="64MB")
    try:
        with servers:
            platform = ChaosPlatform(directory, servers, environment)
            try:
                yield platform
            finally:
                platform.stop()
    finally:
        shutil.rmtree(servers.directory, ignore_errors=True)
