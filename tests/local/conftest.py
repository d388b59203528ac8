from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.local.server_runs import connect, make_home, make_servers

REPOSITORY = Path(__file__).resolve().parents[2]

RUN_AND_WAIT = """
import pathlib, sys, threading, time
from commands_platform.local.servers import EmbeddedServers
servers = EmbeddedServers(pathlib.Path(sys.argv[1]), shared_buffers="16MB")
if sys.argv[2] == "leave orphans":
    # The kernel watches the thread that forks. If that is not the main thread, the servers outlive this process.
    starter = threading.Thread(target=servers.start)
    starter.start()
    starter.join()
else:
    servers.start()
print("started", flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    """Yields a directory in which the servers have run before. Every test leaves them stopped."""
    with make_home() as home:
        with make_servers(home) as servers, connect(servers) as connection:
            connection.execute("CREATE TABLE notes (text text)")
        yield home


@pytest.fixture
def home() -> Iterator[Path]:
    with make_home() as home:
        yield home


@pytest.fixture
def run_in_another_process(directory: Path) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Returns a function that starts the servers of `directory` in another process. The test then kills the process."""
    started: list[subprocess.Popen[str]] = []

    def run(manner: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", RUN_AND_WAIT, str(directory), manner]
        process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()
