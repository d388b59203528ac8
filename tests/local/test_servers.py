from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from redis import Redis

from commands_platform.local.errors import AlreadyRunningError
from commands_platform.local.servers import EmbeddedServers, temporary_servers
from tests.local.server_runs import await_no_processes_of, connect, make_servers, processes_of


def test_both_servers_answer_at_their_urls(directory: Path) -> None:
    with make_servers(directory) as servers:
        with connect(servers) as connection:
            row = connection.execute(
                "SELECT current_setting('timezone'), current_setting('fsync'), current_setting('listen_addresses')"
            ).fetchone()
        with Redis.from_url(servers.urls.redis_url) as client:
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
    directory: Path, run_in_another_process: Callable[[str], subprocess.Popen[str]]
) -> None:
    process = run_in_another_process("plainly")

    process.kill()

    await_no_processes_of(directory, seconds=10)


def test_the_next_start_ends_servers_that_a_killed_run_left_running(
    directory: Path, run_in_another_process: Callable[[str], subprocess.Popen[str]]
) -> None:
    process = run_in_another_process("leave orphans")
    process.kill()
    process.wait()
    orphans = processes_of(directory)
    assert orphans

    with make_servers(directory) as servers, connect(servers) as connection:
        connection.execute("INSERT INTO notes VALUES ('after the orphans')")
        survivors = [orphan for orphan in orphans if orphan.is_running() and orphan.status() != psutil.STATUS_ZOMBIE]

    assert survivors == []


def test_temporary_servers_remove_their_directory(home: Path) -> None:
    with temporary_servers(home / "servers") as servers, connect(servers) as connection:
        fsync = connection.execute("SELECT current_setting('fsync')").fetchone()

    assert fsync == ("off",)
    assert not (home / "servers").exists()


def test_a_second_claim_of_a_directory_names_its_holder(directory: Path) -> None:
    first, second = make_servers(directory), make_servers(directory)
    first.claim("http://127.0.0.1:8000/, process 1")

    with pytest.raises(AlreadyRunningError, match=r"127\.0\.0\.1:8000/, process 1"):
        second.claim()

    first.stop()
    second.claim()
    second.stop()


def test_a_killed_process_no_longer_holds_its_directory(
    directory: Path, run_in_another_process: Callable[[str], subprocess.Popen[str]]
) -> None:
    process = run_in_another_process("plainly")
    with pytest.raises(AlreadyRunningError, match=f"process {process.pid}"):
        make_servers(directory).start()

    process.kill()
    process.wait()

    with make_servers(directory) as servers:
        assert servers.find_dead() is None


def test_valkey_keeps_its_port_until_somebody_else_takes_it(directory: Path) -> None:
    with make_servers(directory) as servers:
        first = servers.urls.redis_url
    with make_servers(directory) as servers:
        second = servers.urls.redis_url
    port = json.loads((directory / "valkey.json").read_text())["port"]
    with socket.create_server(("127.0.0.1", port)), make_servers(directory) as servers:
        third = servers.urls.redis_url
        with Redis.from_url(third) as client:
            assert client.ping()

    assert first == second
    assert third != second


def test_no_command_line_contains_the_password(directory: Path) -> None:
    with make_servers(directory) as servers:
        password = servers.urls.redis_url.split(":")[2].split("@")[0]
        command_lines = [" ".join(process.cmdline()) for process in processes_of(directory)]

    assert not any(password in line for line in command_lines)


@pytest.mark.parametrize("name", ["PostgreSQL", "Valkey"])
def test_a_server_that_ends_by_itself_is_found_and_can_start_again(directory: Path, name: str) -> None:
    with make_servers(directory) as servers:
        (server,) = (server for server in servers.own if server.name == name)

        server.kill()
        dead = servers.find_dead()
        server.start()

        assert dead is server
        assert servers.find_dead() is None


def test_a_server_whose_url_is_given_is_not_started(home: Path) -> None:
    url = "postgresql://elsewhere/commands"

    with EmbeddedServers(home / "local", database_url=url) as servers:
        connection = servers.urls

    assert connection.database_url == url
    assert connection.redis_url.startswith("redis://:")
    assert not (home / "local" / "postgres").exists()
