"""A private PostgreSQL from a wheel.

docs/decisions/0002-embedded-servers.md says why the launcher that comes with the wheel is not used.
"""

from __future__ import annotations

import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from os import fsencode
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
from psycopg import sql

from commands_platform.local import launch, leftovers
from commands_platform.local.accounts import account_for, hand_over
from commands_platform.local.directory import write_private
from commands_platform.local.errors import EmbeddedServerError
from commands_platform.local.launch import Account
from commands_platform.local.programs import POSTGRES_MAJOR, clean_environment, postgres_binaries
from commands_platform.local.server_process import ServerProcess

DATABASE = "commands_platform"

_PORT = 5432
# A socket's path holds 104 bytes on macOS and 108 on Linux, including the NUL at its end.
_MAX_SOCKET_PATH = 103
# After a crash PostgreSQL replays its log before it answers.
_MAX_START_SECONDS = 180.0


class PostgresServer(ServerProcess):
    """PostgreSQL 18 on a unix socket in `directory`, which keeps its data between runs.

    For root it runs under another account, because PostgreSQL refuses to run as root. Every connection is trusted,
    because only the account that runs the server, and root, can enter the directory of the socket.
    """

    name = "PostgreSQL"

    def __init__(self, directory: Path, *, log: Path, durable: bool = True, shared_buffers: str = "128MB") -> None:
        """Without `durable`, a crash of the machine may destroy the data. Tests use that for its speed."""
        super().__init__(directory, log=log)
        self._data = directory / "data"
        # An interrupted initdb leaves a directory that looks complete, so it works under another name first.
        self._unfinished_data = directory / "data.unfinished"
        # This file is not in `directory`, because there the server's account could make root remove any directory.
        self._sockets_note = directory.with_name("postgres-sockets")
        self._sockets = _socket_directory(directory)
        self._durable = durable
        self._shared_buffers = shared_buffers

    @property
    def url(self) -> str:
        return f"postgresql://postgres@/{DATABASE}?host={quote(str(self._sockets), safe='')}&port={_PORT}"

    def start(self) -> None:
        """Ends leftovers of earlier runs and starts the server. Returns when it answers and the database exists."""
        account = account_for(self._directory)
        hand_over(self._directory, account)
        self._clear_leftovers()
        binaries = postgres_binaries(account)
        if not self._data.exists():
            self._initialize(binaries, account)
        self._check_version()
        if self._sockets != self._directory:
            write_private(self._sockets_note, str(self._sockets))
            self._sockets.mkdir(mode=0o700)
            hand_over(self._sockets, account)
        self._open_log()
        command = [str(binaries / "postgres"), "-D", str(self._data), *self._options()]
        self._launch(command, death_signal=signal.SIGINT, account=account)
        try:
            self._await_answer()
            self._ensure_database()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Ends the server within seconds. If it cannot end cleanly in time, it replays its log at the next start."""
        if self._process is not None:
            first_try = (signal.SIGINT, 4.0) if self._durable else (signal.SIGQUIT, 1.0)
            for signal_number, patience in (first_try, (signal.SIGQUIT, 1.0)):
                with suppress(subprocess.TimeoutExpired):
                    self._process.send_signal(signal_number)
                    self._process.wait(patience)
                    break
            else:
                self.kill()
            self._process = None
        if self._sockets != self._directory:
            shutil.rmtree(self._sockets, ignore_errors=True)

    def kill(self) -> None:
        """Ends every process of the server at once, as a crash would."""
        leftovers.end(leftovers.servers_in(self._data, "postgres"), first=signal.SIGKILL, patience=2)
        if self._process is not None:
            self._process.wait()

    def _options(self) -> list[str]:
        options = {
            "listen_addresses": "",
            "port": str(_PORT),
            "unix_socket_directories": f'"{self._sockets}"',
            "unix_socket_permissions": "0700",
            "max_connections": "200",
            "shared_buffers": self._shared_buffers,
            "timezone": "UTC",
            "log_timezone": "UTC",
            "logging_collector": "off",
            "log_destination": "stderr",
        }
        if not self._durable:
            options |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        return [part for name, value in options.items() for part in ("-c", f"{name}={value}")]

    def _clear_leftovers(self) -> None:
        for directory, program in (
            (self._data, "postgres"),
            (self._unfinished_data, "initdb"),
            (self._unfinished_data, "postgres"),
        ):
            leftovers.end(leftovers.servers_in(directory, program), first=signal.SIGINT, patience=5)
        shutil.rmtree(self._unfinished_data, ignore_errors=True)
        # Nothing runs here any more. If the pid in these files has been reused, PostgreSQL would refuse to start.
        (self._data / "postmaster.pid").unlink(missing_ok=True)
        for socket_file in self._directory.glob(".s.PGSQL.*"):
            socket_file.unlink()
        if self._sockets_note.exists():
            shutil.rmtree(self._sockets_note.read_text(), ignore_errors=True)
            self._sockets_note.unlink()

    def _initialize(self, binaries: Path, account: Account | None) -> None:
        # The builtin locale is the same on every machine. The system's collations can change and break an index.
        command = [
            *(str(binaries / "initdb"), "-D", str(self._unfinished_data), "-U", "postgres", "--encoding=UTF8"),
            *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
            *("--auth-local=trust", "--auth-host=reject", "--no-instructions"),
            *(() if self._durable else ("--no-sync",)),
        ]
        with launch.start(
            command,
            death_signal=signal.SIGTERM,
            account=account,
            env=clean_environment(),
            cwd=self._directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as process:
            try:
                output, _ = process.communicate()
            except BaseException:
                process.kill()
                raise
        if process.returncode:
            raise EmbeddedServerError(
                f"PostgreSQL's data directory could not be made:\n{output.decode(errors='replace')}"
            )
        self._unfinished_data.rename(self._data)

    def _check_version(self) -> None:
        version = (self._data / "PG_VERSION").read_text().strip()
        if version != POSTGRES_MAJOR:
            raise EmbeddedServerError(
                f"{self._data} was made by PostgreSQL {version}, and this is {POSTGRES_MAJOR}. "
                "Move it away, or restore a dump of it into a new one."
            )

    def _connect(self, database: str) -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(
            host=str(self._sockets),
            port=_PORT,
            user="postgres",
            dbname=database,
            connect_timeout=5,
            autocommit=True,
        )

    def _await_answer(self) -> None:
        deadline = time.monotonic() + _MAX_START_SECONDS
        while True:
            try:
                self._connect("postgres").close()
            except psycopg.OperationalError as error:
                if not self.is_alive or time.monotonic() > deadline:
                    raise EmbeddedServerError(f"PostgreSQL did not start ({self.log}):\n{self._log_tail()}") from error
                time.sleep(0.02)
            else:
                return

    def _ensure_database(self) -> None:
        with self._connect("postgres") as connection:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone():
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))


def _socket_directory(data_home: Path) -> Path:
    """Returns the directory of the socket: that of the data, unless its path is too long or has a comma or quote."""
    path = data_home / f".s.PGSQL.{_PORT}"
    if len(fsencode(path)) <= _MAX_SOCKET_PATH and not set(str(path)) & set(',"'):
        return data_home
    return Path(tempfile.gettempdir()) / f"commands-{secrets.token_hex(8)}"
