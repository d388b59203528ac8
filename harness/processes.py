"""Runs the processes of the Procfile on their own servers. Each can be killed, frozen and started again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from redis import Redis

from commands_platform.local import launch
from commands_platform.local.servers import EmbeddedServers

ROOT = Path(__file__).resolve().parent.parent

_MAX_STOP_SECONDS = 10


class PlatformProcesses:
    """Processes by name: their kind, and a number if there are several of a kind, such as `deliverer.2`."""

    def __init__(self, directory: Path, servers: EmbeddedServers, environment: Mapping[str, str]) -> None:
        self.servers = servers
        self.log = directory / "platform.log"
        self.frozen: set[str] = set()
        self.environment = os.environ | {
            "COMMANDS_EMBEDDED": "true",
            "COMMANDS_LOCAL_DIR": str(directory),
            "DATABASE_URL": servers.urls.database_url,
            "REDIS_URL": servers.urls.redis_url,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            **environment,
        }
        self._commands = dict(
            line.split(": ", 1) for line in (ROOT / "Procfile").read_text().splitlines() if ": " in line
        )
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def command_of(self, name: str) -> str:
        """Returns the shell command that runs this process."""
        kind, _, number = name.partition(".")
        return self._commands[kind].replace(f"{kind}@%h", f"{kind}{number}@%h")

    def environment_of(self, name: str) -> dict[str, str]:
        """Returns the environment of this process. PostgreSQL knows its connections by its name."""
        url = self.environment["DATABASE_URL"]
        return self.environment | {"DATABASE_URL": f"{url}{'&' if '?' in url else '?'}application_name={name}"}

    def start(self, name: str) -> None:
        with self.log.open("ab") as log:
            self._processes[name] = launch.start(
                ["/bin/sh", "-c", self.command_of(name)],
                death_signal=signal.SIGKILL,
                cwd=ROOT,
                env=self.environment_of(name),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def add_process(self, name: str, command: str) -> None:
        """Makes a process that is not in the Procfile known to `start`."""
        self._commands[name] = command

    def kill(self, name: str) -> None:
        """Ends the process at once, as a crash would."""
        process = self._processes.pop(name)
        self.frozen.discard(name)
        process.kill()
        process.wait()

    def stop(self, name: str) -> None:
        """Asks the process to end, as an operator would. Raises TimeoutExpired if it does not."""
        process = self._processes.pop(name)
        process.terminate()
        try:
            process.wait(_MAX_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise

    def stop_all(self) -> None:
        for name in list(self.frozen):
            self.thaw(name)
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            try:
                process.wait(_MAX_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes.clear()

    def freeze(self, name: str) -> None:
        self._processes[name].send_signal(signal.SIGSTOP)
        self.frozen.add(name)

    def thaw(self, name: str) -> None:
        self.frozen.discard(name)
        self._processes[name].send_signal(signal.SIGCONT)

    def names(self) -> list[str]:
        """Returns the names of all started processes."""
        return list(self._processes)

    def running(self, *kinds: str) -> list[str]:
        """Returns the names of the started processes of these kinds that are not frozen."""
        return sorted(name for name in self._processes if name.partition(".")[0] in kinds and name not in self.frozen)

    def ended(self) -> list[str]:
        """Returns the names of processes that have ended by themselves, which should not happen."""
        return [name for name, process in self._processes.items() if process.poll() is not None]

    def pids(self, kind: str) -> dict[str, int]:
        """Returns the pids of the started processes of this kind, by name."""
        started = list(self._processes.items())
        return {name: process.pid for name, process in started if name.partition(".")[0] == kind}

    def log_tail(self) -> str:
        return self.log.read_text(errors="replace")[-8000:] if self.log.exists() else ""

    def manage(self, *arguments: str) -> str:
        """Runs a management command to its end and returns its output."""
        finished = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            check=True,
            text=True,
        )
        return finished.stdout

    def connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        """Returns a new connection to the database, in autocommit mode."""
        return psycopg.connect(self.servers.urls.database_url, autocommit=True)

    def query(
        self, statement: str | sql.Composed, parameters: Sequence[Any] | Mapping[str, Any] = ()
    ) -> list[tuple[Any, ...]]:
        """Runs one statement and returns its rows."""
        with self.connect() as connection:
            cursor = connection.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    def redis(self) -> Redis:
        return Redis.from_url(self.servers.urls.redis_url)
