from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from redis import Redis

from commands_platform.local import launch, leftovers
from commands_platform.local import servers as embedded
from commands_platform.local.servers import EmbeddedServers

REPOSITORY = Path(__file__).resolve().parents[2]

RUN_AND_WAIT = """
import pathlib, sys, threading, time
from commands_platform.local.servers import EmbeddedServers
servers = EmbeddedServers(pathlib.Path(sys.argv[1]), shared_buffers="16MB")
if sys.argv[2] == "leave orphans":
    # The kernel watches the thread that forks: one that is not the main one gives no order to end the servers.
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
    """One directory that has been used before; every test leaves it stopped."""
    with make_home() as home:
        with make_servers(home) as servers, connect(servers) as connection:
            connection.execute("CREATE TABLE notes (text text)")
        yield home


@pytest.fixture
def home() -> Iterator[Path]:
    with make_home() as home:
        yield home


@pytest.fixture
def run_elsewhere(directory: Path) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Starts the servers of `directory` in another process, which a test then treats badly."""
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


@contextmanager
def make_home() -> Iterator[Path]:
    """A directory that the account which runs servers for root reaches: pytest closes its own ones again and again."""
    with tempfile.TemporaryDirectory(prefix="commands-tests-") as home:
        yield Path(home)


def make_servers(directory: Path) -> EmbeddedServers:
    return EmbeddedServers(directory, shared_buffers="16MB")


def connect(servers: EmbeddedServers) -> psycopg.Connection[tuple[Any, ...]]:
    return psycopg.connect(servers.connection.database_url, autocommit=True)


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


def test_both_servers_answer_where_the_connection_says(directory: Path) -> None:
    with make_servers(directory) as servers:
        with connect(servers) as connection:
            row = connection.execute(
                "SELECT current_setting('timezone'), current_setting('fsync'), current_setting('listen_addresses')"
            ).fetchone()
        with Redis.from_url(servers.connection.redis_url) as client:
            answered = client.ping()

    assert row == ("UTC", "on", "")
    assert answered


def test_data_survives_a_stop(directory: Path) -> None:
    with make_servers(directory) as servers, connect(servers) as connection:
        connection.execute("INSERT INTO notes VALUES ('kept over a stop')")

    with make_servers(directory) as servers, connect(servers) as connection:
        count = connection.execute("SELECT count(*) FROM notes WHERE text = 'kept over a stop'").fetchone()

    assert count == (1,)


def test_a_stop_leaves_no_process(directory: Path) -> None:
    with make_servers(directory):
        running = processes_of(directory)

    assert len(running) > 2
    assert processes_of(directory) == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends the children of a killed process")
def test_the_servers_end_with_the_process_that_started_them(
    directory: Path, run_elsewhere: Callable[[str], subprocess.Popen[str]]
) -> None:
    process = run_elsewhere("plainly")

    process.kill()

    await_no_processes_of(directory, seconds=10)


def test_the_next_start_ends_servers_that_a_killed_run_left_running(
    directory: Path, run_elsewhere: Callable[[str], subprocess.Popen[str]]
) -> None:
    process = run_elsewhere("leave orphans")
    process.kill()
    process.wait()
    orphans = processes_of(directory)
    assert orphans

    with make_servers(directory) as servers, connect(servers) as connection:
        connection.execute("INSERT INTO notes VALUES ('after the orphans')")
        survivors = [orphan for orphan in orphans if orphan.is_running() and orphan.status() != psutil.STATUS_ZOMBIE]

    assert survivors == []


def test_committed_data_survives_a_kill_of_every_process(
    directory: Path, run_elsewhere: Callable[[str], subprocess.Popen[str]]
) -> None:
    process = run_elsewhere("leave orphans")
    with psycopg.connect(
        host=str(directory / "postgres"), port=5432, user="postgres", dbname=embedded.DATABASE, autocommit=True
    ) as connection:
        connection.execute("INSERT INTO notes VALUES ('kept over a crash')")
        process.kill()
        for server_process in processes_of(directory):
            server_process.kill()
    await_no_processes_of(directory, seconds=5)
    assert (directory / "postgres" / "data" / "postmaster.pid").exists()

    with make_servers(directory) as servers, connect(servers) as connection:
        count = connection.execute("SELECT count(*) FROM notes WHERE text = 'kept over a crash'").fetchone()

    assert count == (1,)


def test_a_stale_pid_file_that_names_a_living_process_is_no_obstacle(directory: Path) -> None:
    owner = (directory / "postgres").stat()
    account = launch.Account(owner.st_uid, owner.st_gid) if os.geteuid() == 0 else None
    with launch.start(["sleep", "60"], death_signal=signal.SIGKILL, account=account) as stranger:
        for name in ("data/postmaster.pid", ".s.PGSQL.5432.lock"):
            stale = directory / "postgres" / name
            stale.write_text(
                f"{stranger.pid}\n{directory}/postgres/data\n1\n5432\n{directory}/postgres\n\n 1 1\nready\n"
            )
            os.chown(stale, owner.st_uid, owner.st_gid)

        with make_servers(directory) as servers:
            alive = servers.postgres is not None and servers.postgres.is_alive

        untouched = stranger.poll() is None
        stranger.kill()

    assert alive
    assert untouched


def test_an_interrupted_first_start_is_begun_again(home: Path) -> None:
    unfinished = home / "local" / "postgres" / "data.unfinished"
    unfinished.mkdir(parents=True)
    (unfinished / "PG_VERSION").write_text("18\n")

    with embedded.temporary_servers(home / "local") as servers, connect(servers) as connection:
        answer = connection.execute("SELECT 1").fetchone()

    assert answer == (1,)


def test_a_directory_too_deep_for_a_socket_works_and_leaves_nothing_in_the_temporary_one(home: Path) -> None:
    deep = home / ("deep, and with a comma and a space " * 3).strip()

    with embedded.temporary_servers(deep) as servers:
        with connect(servers) as connection:
            sockets = connection.execute("SELECT current_setting('unix_socket_directories')").fetchone()
        assert sockets is not None
        socket_directory = Path(sockets[0].strip('"'))
        mode = stat.S_IMODE(socket_directory.stat().st_mode)

    assert mode == 0o700
    assert not socket_directory.exists()


def test_temporary_servers_take_their_directory_away(home: Path) -> None:
    with embedded.temporary_servers(home / "servers") as servers, connect(servers) as connection:
        fsync = connection.execute("SELECT current_setting('fsync')").fetchone()

    assert fsync == ("off",)
    assert not (home / "servers").exists()


def test_a_second_claim_of_a_directory_is_told_who_has_it(directory: Path) -> None:
    first, second = make_servers(directory), make_servers(directory)
    first.claim("http://127.0.0.1:8000/, process 1")

    with pytest.raises(embedded.AlreadyRunningError, match=r"127\.0\.0\.1:8000/, process 1"):
        second.claim()

    first.stop()
    second.claim()
    second.stop()


def test_a_killed_holder_holds_its_directory_no_longer(
    directory: Path, run_elsewhere: Callable[[str], subprocess.Popen[str]]
) -> None:
    process = run_elsewhere("plainly")
    with pytest.raises(embedded.AlreadyRunningError, match=f"process {process.pid}"):
        make_servers(directory).start()

    process.kill()
    process.wait()

    with make_servers(directory) as servers:
        assert servers.dead() is None


def test_valkey_keeps_its_port_until_somebody_else_takes_it(directory: Path) -> None:
    with make_servers(directory) as servers:
        first = servers.connection.redis_url
    with make_servers(directory) as servers:
        second = servers.connection.redis_url
    port = json.loads((directory / "valkey.json").read_text())["port"]
    with socket.create_server(("127.0.0.1", port)), make_servers(directory) as servers:
        third = servers.connection.redis_url
        with Redis.from_url(third) as client:
            assert client.ping()

    assert first == second
    assert third != second


def test_no_process_shows_the_password_to_the_machine(directory: Path) -> None:
    with make_servers(directory) as servers:
        password = servers.connection.redis_url.split(":")[2].split("@")[0]
        command_lines = [" ".join(process.cmdline()) for process in processes_of(directory)]

    assert not any(password in line for line in command_lines)


@pytest.mark.parametrize("name", ["PostgreSQL", "Valkey"])
def test_a_server_that_ends_by_itself_is_named_and_starts_again(directory: Path, name: str) -> None:
    with make_servers(directory) as servers:
        (server,) = (server for server in servers.own if server.name == name)

        server.kill()
        dead = servers.dead()
        server.start()

        assert dead is server
        assert servers.dead() is None


def test_a_server_with_a_url_of_its_own_is_not_started(home: Path) -> None:
    url = "postgresql://elsewhere/commands"

    with EmbeddedServers(home / "local", database_url=url) as servers:
        connection = servers.connection

    assert connection.database_url == url
    assert connection.redis_url.startswith("redis://:")
    assert not (home / "local" / "postgres").exists()


def test_data_of_another_major_version_is_refused_with_a_way_out(home: Path) -> None:
    data = home / "local" / "postgres" / "data"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("16\n")

    with pytest.raises(embedded.EmbeddedServerError, match="was made by PostgreSQL 16, and this is 18: move it away"):
        make_servers(home / "local").start()


def test_the_connection_is_read_as_it_was_written_until_forgotten(tmp_path: Path) -> None:
    connection = embedded.Connection(database_url="postgresql:///a", redis_url="redis://b")

    embedded.write_connection(tmp_path, connection)
    read = embedded.read_connection(tmp_path)
    mode = stat.S_IMODE((tmp_path / "embedded.json").stat().st_mode)
    embedded.forget_connection(tmp_path)

    assert read == connection
    assert mode == 0o600
    assert embedded.read_connection(tmp_path) is None


@pytest.mark.parametrize("text", ["", "nonsense", "[]", "{}", '{"database_url": "a"}', '{"other": 1}'])
def test_an_unreadable_connection_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "embedded.json").write_text(text)

    assert embedded.read_connection(tmp_path) is None


def test_the_secret_key_is_made_once_even_by_many_at_a_time(tmp_path: Path) -> None:
    local = tmp_path / "local"
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: embedded.secret_key(local), range(32)))

    assert len(keys) == 1
    assert len(keys.pop()) == 64
    assert stat.S_IMODE(local.stat().st_mode) == 0o700
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in local.iterdir()} == {"secret_key": 0o600}


def test_an_empty_secret_key_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "secret_key").write_text("\n")

    assert len(embedded.secret_key(tmp_path)) == 64


def test_a_directory_of_another_account_is_refused_with_its_owner(tmp_path: Path) -> None:
    anothers = Path("/usr")
    if os.geteuid() == 0:
        anothers = tmp_path / "anothers"
        anothers.mkdir()
        os.chown(anothers, 1, 1)

    with pytest.raises(embedded.LocalDirectoryError, match=r"belongs to .*COMMANDS_LOCAL_DIR"):
        embedded.prepare_directory(anothers)
