"""The platform as it is run for real: by the Procfile, against a durable PostgreSQL and a Valkey of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg
from psycopg import sql

from commands_platform.local.servers import EmbeddedServers
from tests.stories.running import ROOT, RunningPlatform

# The stories shorten these waits; what is measured runs with the defaults.
_SHORTENED = (
    "CALLBACK_TIMEOUT_SECONDS",
    "DELIVERY_LEASE_SECONDS",
    "DELIVERY_RETRY_DELAYS",
    "DATABASE_POOL_SIZE",
)


class BenchmarkError(Exception):
    """What was to be measured did not happen; the message says what."""


@dataclass(frozen=True)
class Team:
    """Who owns the schedules of a benchmark: database ids, an API key, and the user's uuid."""

    organization_id: int
    command_id: int
    user_id: int
    user_uuid: str
    command_uuid: str
    api_key: str


class Platform(RunningPlatform):
    """Each process can be started, killed, started again and measured; `query` asks its database."""

    def __init__(self, directory: Path, servers: EmbeddedServers, environment: Mapping[str, str] | None = None) -> None:
        super().__init__(directory, servers)
        for name in _SHORTENED:
            self.environment.pop(name, None)
        self.environment |= {"REDIS_KEY_PREFIX": "benchmark:", "WEB_WORKERS": "2", **(environment or {})}

    def process(self, name: str, number: int = 1) -> psutil.Process:
        return psutil.Process(self._processes[f"{name}.{number}"].pid)

    def ended(self) -> list[str]:
        """What was started here and has ended by itself."""
        return [name for name, process in self._processes.items() if process.poll() is not None]

    def wait_for(self, condition: Callable[[], Any], *, timeout: float, what: str, every: float = 0.05) -> None:
        """Returns once `condition()` is true; BenchmarkError after `timeout` seconds, or when a process has ended."""
        deadline = time.monotonic() + timeout
        while not condition():
            if ended := self.ended():
                raise BenchmarkError(f"{', '.join(ended)} ended.")
            if time.monotonic() > deadline:
                raise BenchmarkError(f"After {timeout:.0f} s: {what}.")
            time.sleep(every)

    def names(self) -> list[str]:
        """What runs, as `deliverer.2`."""
        return list(self._processes)

    def database_process(self) -> psutil.Process:
        pid_file = self.servers.directory / "postgres" / "data" / "postmaster.pid"
        return psutil.Process(int(pid_file.read_text().split()[0]))

    def broker_process(self) -> psutil.Process:
        with self.redis() as client:
            return psutil.Process(int(client.info("server")["process_id"]))

    def cpu_seconds(self) -> dict[str, float]:
        """CPU time each part has used so far, the children that it reaped included."""
        parts = {name: _cpu_of_tree(psutil.Process(each.pid)) for name, each in self._processes.items()}
        return parts | {
            "postgres": _cpu_of_tree(self.database_process()),
            "valkey": _cpu_of_tree(self.broker_process()),
        }

    def manage(self, *arguments: str) -> str:
        try:
            return super().manage(*arguments)
        except subprocess.CalledProcessError as error:
            message = f"manage.py {arguments[0]} failed:\n{error.stderr[-4000:]}"
            raise BenchmarkError(message) from error

    def make_team(self, callback_url: str, *, name: str = "Benchmark") -> Team:
        made = json.loads(
            self.manage(
                *("bootstrap", "--organization", name, "--command", "measure", "--callback-url", callback_url),
                *("--user", "Ada Lovelace", "--email", "ada@example.com", "--json"),
            )
        )
        [(organization_id, command_id, user_id)] = self.query(
            "SELECT o.id, c.id, u.id FROM organizations_organization o, organizations_command c, organizations_user u"
            " WHERE o.uuid = %s AND c.uuid = %s AND u.uuid = %s",
            *(made["organization"]["uuid"], made["command"]["uuid"], made["user"]["uuid"]),
        )
        return Team(
            organization_id, command_id, user_id, made["user"]["uuid"], made["command"]["uuid"], made["api_key"]
        )

    def connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        """A connection of one's own to the database, in autocommit."""
        return psycopg.connect(self.servers.urls.database_url, autocommit=True)

    def execute(self, statement: Any, parameters: Any = None) -> int:
        """Runs one statement; how many rows it touched."""
        with self.connect() as connection:
            return connection.execute(statement, parameters).rowcount

    def add_process(self, name: str, command: str) -> None:
        """Lets `start` know of a process that is not in the Procfile."""
        self._commands[name] = command

    @property
    def web_command(self) -> str:
        """The Procfile's line of the web."""
        return self._commands["web"]

    def run_module(self, module: str, *arguments: str) -> Any:
        """Runs a module with a dispatcher's settings to its end; what it printed, as JSON."""
        environment = self.environment | {
            "DJANGO_SETTINGS_MODULE": "commands_platform.settings",
            "COMMANDS_PROCESS_NAME": "dispatcher",
        }
        command = [sys.executable, "-m", module, *arguments]
        finished = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=False, text=True)
        if finished.returncode:
            raise BenchmarkError(f"{module} failed:\n{finished.stderr[-4000:]}")
        return json.loads(finished.stdout)

    def log(self) -> str:
        text = self._log.read_text(errors="replace") if self._log.exists() else ""
        return text[-8000:]


def _cpu_of_tree(process: psutil.Process) -> float:
    total = 0.0
    for each in [process, *process.children(recursive=True)]:
        try:
            times = each.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def used_since(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """CPU seconds of each part between two readings."""
    return {name: round(after[name] - before.get(name, 0.0), 2) for name in after}


@contextmanager
def platform(
    processes: Sequence[str] = ("beat", "dispatcher", "deliverer"),
    *,
    environment: Mapping[str, str] | None = None,
    deliverers: int = 1,
    dispatchers: int = 1,
    postgres_options: Mapping[str, str] | None = None,
) -> Iterator[Platform]:
    """A migrated platform with these processes started (not necessarily ready), and gone afterwards.

    On failure the end of its log goes to stderr. `postgres_options` are set by ALTER SYSTEM, with a restart.
    """
    directory = Path(tempfile.mkdtemp(prefix="commands-benchmark-"))
    # The directory's own servers, as `make run` starts them: fsync and synchronous_commit on.
    servers = EmbeddedServers(directory, durable=True)
    numbers = {"deliverer": deliverers, "dispatcher": dispatchers}
    try:
        with servers:
            running = Platform(directory, servers, environment)
            running.manage("migrate", "--noinput", "--verbosity", "0")
            if postgres_options:
                _set_postgres_options(running, postgres_options)
            try:
                for name in processes:
                    for number in range(1, numbers.get(name, 1) + 1):
                        running.start(name, number=number)
                yield running
            except BaseException:
                print(f"The end of the platform's log:\n{running.log()}", file=sys.stderr)
                raise
            finally:
                running.stop_all()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _set_postgres_options(running: Platform, options: Mapping[str, str]) -> None:
    for name, value in options.items():
        statement = sql.SQL("ALTER SYSTEM SET {} = {}").format(sql.Identifier(name), sql.Literal(value))
        running.execute(statement)
    assert running.servers.postgres is not None
    running.servers.postgres.stop()
    running.servers.postgres.start()
