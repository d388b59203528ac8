"""The platform as it runs in production: the processes of the Procfile, a durable PostgreSQL and a Valkey."""

from __future__ import annotations

import json
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
from psycopg import sql

from commands_platform.local.servers import EmbeddedServers, temporary_servers
from harness.platform import RunningPlatform
from harness.processes import ROOT


class BenchmarkError(Exception):
    """The measurement failed. The message says why."""


@dataclass(frozen=True)
class Owner:
    """The owner of a benchmark's schedules: database ids, uuids and an API key."""

    organization_id: int
    command_id: int
    user_id: int
    user_uuid: str
    command_uuid: str
    api_key: str


class MeasuredPlatform(RunningPlatform):
    """A running platform whose processes and servers can be measured."""

    def __init__(self, directory: Path, servers: EmbeddedServers, environment: Mapping[str, str]) -> None:
        # Requests are counted, but no benchmark reaches the limit.
        ours = {"REDIS_KEY_PREFIX": "benchmark:", "WEB_WORKERS": "2", "API_RATE_LIMIT": "100000000/min"}
        super().__init__(directory, servers, {**ours, **environment})

    def process(self, name: str) -> psutil.Process:
        return psutil.Process(self._processes[name].pid)

    def wait_for(self, condition: Callable[[], Any], *, timeout: float, what: str, every: float = 0.05) -> None:
        """Returns once `condition()` is true. Raises BenchmarkError after `timeout` seconds, or if a process ends."""
        deadline = time.monotonic() + timeout
        while not condition():
            if ended := self.ended():
                raise BenchmarkError(f"{', '.join(ended)} ended.")
            if time.monotonic() > deadline:
                raise BenchmarkError(f"After {timeout:.0f} s: {what}.")
            time.sleep(every)

    def database_process(self) -> psutil.Process:
        pid_file = self.servers.directory / "postgres" / "data" / "postmaster.pid"
        return psutil.Process(int(pid_file.read_text().split()[0]))

    def broker_process(self) -> psutil.Process:
        with self.redis() as client:
            return psutil.Process(int(client.info("server")["process_id"]))

    def cpu_seconds(self) -> dict[str, float]:
        """Returns the CPU time that each part has used so far, including its children that have ended."""
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

    def make_owner(self, callback_url: str, *, name: str = "Benchmark") -> Owner:
        made = json.loads(
            self.manage(
                *("bootstrap", "--organization", name, "--command", "measure", "--callback-url", callback_url),
                *("--user", "Ada Lovelace", "--email", "ada@example.com", "--json"),
            )
        )
        [(organization_id, command_id, user_id)] = self.query(
            "SELECT o.id, c.id, u.id FROM organizations_organization o, organizations_command c, organizations_user u"
            " WHERE o.uuid = %s AND c.uuid = %s AND u.uuid = %s",
            [made["organization"]["uuid"], made["command"]["uuid"], made["user"]["uuid"]],
        )
        return Owner(
            organization_id, command_id, user_id, made["user"]["uuid"], made["command"]["uuid"], made["api_key"]
        )

    def execute(self, statement: Any, parameters: Any = None) -> int:
        """Runs one statement and returns the number of rows it touched."""
        with self.connect() as connection:
            return connection.execute(statement, parameters).rowcount

    @property
    def web_command(self) -> str:
        """The Procfile's command for the web."""
        return self._commands["web"]

    def run_module(self, module: str, *arguments: str) -> Any:
        """Runs a module to its end with a dispatcher's settings. Returns the JSON that it printed."""
        environment = self.environment | {
            "DJANGO_SETTINGS_MODULE": "commands_platform.settings",
            "COMMANDS_PROCESS_NAME": "dispatcher",
        }
        command = [sys.executable, "-m", module, *arguments]
        finished = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=False, text=True)
        if finished.returncode:
            raise BenchmarkError(f"{module} failed:\n{finished.stderr[-4000:]}")
        return json.loads(finished.stdout)


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
    """Returns the CPU seconds of each part between two measurements."""
    return {name: round(after[name] - before.get(name, 0.0), 2) for name in after}


@contextmanager
def platform(
    processes: Sequence[str] = ("beat", "dispatcher", "deliverer"),
    *,
    environment: Mapping[str, str] | None = None,
    deliverers: int = 1,
    dispatchers: int = 1,
    postgres_options: Mapping[str, str] | None = None,
) -> Iterator[MeasuredPlatform]:
    """Runs a migrated platform with these processes, which may not be ready yet, and ends it afterwards.

    If the block raises, it prints the end of the log to stderr. `postgres_options` are set by ALTER SYSTEM and a
    restart.
    """
    directory = Path(tempfile.mkdtemp(prefix="commands-benchmark-"))
    # As durable as `make run`, with fsync and synchronous_commit on.
    numbers = {"deliverer": deliverers, "dispatcher": dispatchers}
    with temporary_servers(directory, durable=True, shared_buffers="128MB") as servers:
        running = MeasuredPlatform(directory, servers, environment or {})
        running.manage("migrate", "--noinput", "--verbosity", "0")
        if postgres_options:
            _set_postgres_options(running, postgres_options)
        try:
            for name in processes:
                for number in range(1, numbers.get(name, 1) + 1):
                    running.start(name if number == 1 else f"{name}.{number}")
            yield running
        except BaseException:
            print(f"The end of the platform's log:\n{running.log_tail()}", file=sys.stderr)
            raise
        finally:
            running.stop_all()


def _set_postgres_options(running: MeasuredPlatform, options: Mapping[str, str]) -> None:
    for name, value in options.items():
        statement = sql.SQL("ALTER SYSTEM SET {} = {}").format(sql.Identifier(name), sql.Literal(value))
        running.execute(statement)
    assert running.servers.postgres is not None
    running.servers.postgres.stop()
    running.servers.postgres.start()
