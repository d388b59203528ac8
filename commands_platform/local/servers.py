"""A private PostgreSQL and a private Valkey, from wheels, for `make run`, tests and benchmarks.

They need the `embedded` extra, which production does not install.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from commands_platform.local.directory import ServerUrls, prepare_directory
from commands_platform.local.errors import AlreadyRunningError
from commands_platform.local.postgres import PostgresServer
from commands_platform.local.valkey import ValkeyServer


class EmbeddedServers:
    """Both servers of one directory, which belongs to one process at a time.

    A server is not started when the URL of another one is given.
    """

    def __init__(
        self,
        directory: Path,
        *,
        durable: bool = True,
        shared_buffers: str = "128MB",
        database_url: str = "",
        redis_url: str = "",
    ) -> None:
        self.directory = Path(os.path.realpath(directory))
        self.postgres = (
            None
            if database_url
            else PostgresServer(
                self.directory / "postgres",
                log=self.directory / "postgres.log",
                durable=durable,
                shared_buffers=shared_buffers,
            )
        )
        self.valkey = None if redis_url else ValkeyServer(self.directory / "valkey", log=self.directory / "valkey.log")
        self._database_url = database_url
        self._redis_url = redis_url
        self._lock: int | None = None

    @property
    def urls(self) -> ServerUrls:
        """The addresses of the servers, once they are started."""
        return ServerUrls(
            database_url=self.postgres.url if self.postgres else self._database_url,
            redis_url=self.valkey.url if self.valkey else self._redis_url,
        )

    @property
    def own(self) -> list[PostgresServer | ValkeyServer]:
        """The servers that this object runs, in the order in which they start."""
        return [server for server in (self.postgres, self.valkey) if server is not None]

    def claim(self, note: str = "") -> None:
        """Takes the directory until `stop` or the end of this process.

        Raises AlreadyRunningError, with the holder's note, if another process has it.
        """
        if self._lock is not None:
            return
        prepare_directory(self.directory)
        lock = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(lock, 1000, 0).decode(errors="replace")
            os.close(lock)
            raise AlreadyRunningError(holder) from error
        self._lock = lock
        os.ftruncate(lock, 0)
        os.pwrite(lock, note.encode(), 0)

    def start(self) -> None:
        """Starts the servers, and returns when they answer. If one does not start, none is left running."""
        self.claim(f"process {os.getpid()}")
        try:
            for server in self.own:
                server.start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Ends both servers and releases the directory."""
        for server in reversed(self.own):
            server.stop()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def find_dead(self) -> PostgresServer | ValkeyServer | None:
        """Returns a server that has ended by itself, or None if both run."""
        return next((server for server in self.own if not server.is_alive), None)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


@contextmanager
def temporary_servers(
    directory: Path, *, durable: bool = False, shared_buffers: str = "32MB"
) -> Iterator[EmbeddedServers]:
    """Runs both servers in a directory of their own, which is removed at the end."""
    servers = EmbeddedServers(directory, durable=durable, shared_buffers=shared_buffers)
    try:
        with servers:
            yield servers
    finally:
        shutil.rmtree(servers.directory, ignore_errors=True)
