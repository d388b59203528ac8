from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import psutil
import pytest

from commands_platform.local import leftovers
from commands_platform.local.directory import read_server_urls
from commands_platform.local.ports import free_port

REPOSITORY = Path(__file__).resolve().parents[2]

# Variables that are set for the tests' own servers. `up` must find its own values.
VARIABLES_OF_THE_TESTS = (
    "DATABASE_URL",
    "REDIS_URL",
    "SECRET_KEY",
    "ALLOWED_HOSTS",
    "DATABASE_POOL_SIZE",
    "LOG_FORMAT",
    "PORT",
    "HOST",
)


class Run:
    """`manage.py up` in a process of its own."""

    def __init__(self, local: Path, port: int) -> None:
        environment = {name: value for name, value in os.environ.items() if name not in VARIABLES_OF_THE_TESTS}
        self.local = local
        self.port = port
        self.output = ""
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "up"],
            cwd=REPOSITORY,
            env=environment | {"COMMANDS_LOCAL_DIR": str(local), "PORT": str(port), "WEB_WORKERS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    @property
    def _stdout(self) -> IO[str]:
        assert self.process.stdout is not None
        return self.process.stdout

    def read_until(self, text: str) -> None:
        while text not in self.output:
            line = self._stdout.readline()
            assert line, f"{text!r} never came:\n{self.output}"
            self.output += line

    def wait(self) -> int:
        self.output += self._stdout.read()
        return self.process.wait(15)


@pytest.fixture
def run_up() -> Iterator[Callable[[int], Run]]:
    """Returns a function that runs `manage.py up` on a port, always in the same directory, until the test ends."""
    runs: list[Run] = []
    # Under root the servers run as another account, and pytest keeps closing its own directories to that account.
    with tempfile.TemporaryDirectory(prefix="commands-tests-") as home:

        def start(port: int) -> Run:
            runs.append(Run(Path(home) / "local", port))
            return runs[-1]

        yield start
        for run in runs:
            run.process.terminate()
            run.process.communicate()


def remaining_processes(local: Path) -> list[psutil.Process]:
    found = [
        *leftovers.children_of_up(local),
        *leftovers.servers_in(local / "postgres" / "data", "postgres"),
        *leftovers.servers_in(local / "valkey", "valkey-server"),
    ]
    # A process that has ended may not have been reaped yet.
    return [process for process in found if is_alive(process)]


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def schedule_three_callbacks(run: Run) -> None:
    kept = json.loads((run.local / "bootstrap.json").read_text())
    body = {"name": "hello", "command_uuid": kept["command"]["uuid"], "execution_frequency": 1, "repeats": 3}
    request = urllib.request.Request(
        f"http://127.0.0.1:{run.port}/v1/platform/scheduling/",
        data=json.dumps(body).encode(),
        headers={"X-API-KEY": kept["api_key"], "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        assert response.status == 200


def unreadable_lines(output: str) -> list[str]:
    """Returns the lines of processes that have a second timestamp, a callback's path or words of Celery's own."""
    lines = [line for line in output.splitlines() if " | " in line]
    odd = re.compile(r" \| \d{4}-|/callback|celery|revoked|Warm shutdown|redis://| \| $", re.IGNORECASE)
    return [line for line in lines if odd.search(line) or not re.match(r"\d\d:\d\d:\d\d \w+ +\| \S", line)]


def test_one_command_serves_callbacks_and_a_stop_leaves_nothing_running(run_up: Callable[[int], Run]) -> None:
    run = run_up(free_port())
    run.read_until("Ctrl-C stops everything")

    schedule_three_callbacks(run)
    run.read_until("Callback delivered: schedule=hello")
    run.read_until("Schedule completed: schedule=hello")
    second = run_up(free_port())
    second_status = second.wait()
    began = time.monotonic()
    run.process.send_signal(signal.SIGTERM)
    status = run.wait()

    assert second_status == 1
    assert f"It is already running at http://127.0.0.1:{run.port}/ as process {run.process.pid}" in second.output
    assert "signature valid" in run.output
    assert "web        | Schedule created: schedule=hello" in run.output
    assert unreadable_lines(run.output) == []
    assert status == 0
    assert time.monotonic() - began < 10
    assert remaining_processes(run.local) == []
    assert read_server_urls(run.local) is None
    assert stat.S_IMODE((run.local / "bootstrap.json").stat().st_mode) == 0o600


def test_a_stop_during_the_start_leaves_nothing_running(run_up: Callable[[int], Run]) -> None:
    run = run_up(free_port())
    run.read_until("Bringing the database up to date")

    began = time.monotonic()
    run.process.send_signal(signal.SIGINT)
    status = run.wait()

    assert status == 0
    assert time.monotonic() - began < 10
    assert "Traceback" not in run.output
    assert remaining_processes(run.local) == []
    assert read_server_urls(run.local) is None


def test_a_killed_run_does_not_prevent_the_next_and_a_killed_child_ends_the_rest(run_up: Callable[[int], Run]) -> None:
    first = run_up(free_port())
    first.read_until("Ctrl-C stops everything")
    first.process.kill()

    second = run_up(first.port)
    second.read_until("Ctrl-C stops everything")
    (deliverer,) = (
        child for child in psutil.Process(second.process.pid).children() if "deliverer@%h" in child.cmdline()
    )
    deliverer.kill()
    status = second.wait()

    assert status == 137
    assert "deliverer was ended by SIGKILL; stopping the rest" in second.output
    assert "Making a first organization" not in second.output
    assert remaining_processes(first.local) == []


def test_a_port_in_use_is_reported_with_advice(run_up: Callable[[int], Run]) -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        run = run_up(port)
        status = run.wait()

    assert status == 1
    assert f"Port {port} is taken by process {os.getpid()}" in run.output
    assert "make run PORT=" in run.output
