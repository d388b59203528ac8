from __future__ import annotations

import os
import signal
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from commands_platform.local import launch
from commands_platform.local.errors import EmbeddedServerError
from commands_platform.local.postgres import DATABASE
from commands_platform.local.servers import temporary_servers
from tests.local.server_runs import await_no_processes_of, connect, make_servers, processes_of


def test_committed_data_survives_a_kill_of_every_process(
    directory: Path, run_in_another_process: Callable[[str], subprocess.Popen[str]]
) -> None:
    process = run_in_another_process("leave orphans")
    with psycopg.connect(
        host=str(directory / "postgres"), port=5432, user="postgres", dbname=DATABASE, autocommit=True
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


def test_a_stale_pid_file_that_names_a_running_process_does_not_prevent_a_start(directory: Path) -> None:
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


def test_an_interrupted_first_start_is_repeated(home: Path) -> None:
    unfinished = home / "local" / "postgres" / "data.unfinished"
    unfinished.mkdir(parents=True)
    (unfinished / "PG_VERSION").write_text("18\n")

    with temporary_servers(home / "local") as servers, connect(servers) as connection:
        answer = connection.execute("SELECT 1").fetchone()

    assert answer == (1,)


def test_a_path_too_long_for_a_socket_works_and_leaves_no_temporary_directory(home: Path) -> None:
    deep = home / ("deep, and with a comma and a space " * 3).strip()

    with temporary_servers(deep) as servers:
        with connect(servers) as connection:
            sockets = connection.execute("SELECT current_setting('unix_socket_directories')").fetchone()
        assert sockets is not None
        socket_directory = Path(sockets[0].strip('"'))
        mode = stat.S_IMODE(socket_directory.stat().st_mode)

    assert mode == 0o700
    assert not socket_directory.exists()


def test_data_of_another_major_version_is_refused_with_advice(home: Path) -> None:
    data = home / "local" / "postgres" / "data"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("16\n")

    with pytest.raises(EmbeddedServerError, match=r"was made by PostgreSQL 16, and this is 18\. Move it away"):
        make_servers(home / "local").start()
