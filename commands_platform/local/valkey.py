"""A private Valkey from a wheel."""

from __future__ import annotations

import json
import secrets
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry

from commands_platform.local import leftovers
from commands_platform.local.accounts import account_for, hand_over
from commands_platform.local.directory import write_private
from commands_platform.local.errors import EmbeddedServerError
from commands_platform.local.launch import Account
from commands_platform.local.ports import free_port
from commands_platform.local.programs import valkey_binary
from commands_platform.local.server_process import ServerProcess


class ValkeyServer(ServerProcess):
    """Valkey on a loopback port with a random password. It keeps nothing on disk, because hints may be lost."""

    name = "Valkey"

    def __init__(self, directory: Path, *, log: Path) -> None:
        super().__init__(directory, log=log)
        self._note = directory.with_name("valkey.json")
        self._port = 0
        self._password = ""

    @property
    def url(self) -> str:
        return f"redis://:{self._password}@127.0.0.1:{self._port}/0"

    def start(self) -> None:
        """Starts the server and returns when it answers. It reuses the port and password of the last run if it can."""
        account = account_for(self._directory)
        hand_over(self._directory, account)
        leftovers.end(leftovers.servers_in(self._directory, "valkey-server"), first=signal.SIGTERM, patience=3)
        binary = valkey_binary(account)
        self._recall_address()
        self._open_log()
        for _ in range(20):
            self._launch_configured(binary, account)
            if self._answers():
                write_private(self._note, json.dumps({"port": self._port, "password": self._password}))
                return
            self.stop()
            if "Failed listening on port" not in self._log_tail():
                break
            # Another process has taken the port in the meantime.
            self._port = free_port()
        raise EmbeddedServerError(f"Valkey did not start ({self.log}):\n{self._log_tail()}")

    def stop(self) -> None:
        """Ends the server within seconds."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(3)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def kill(self) -> None:
        """Ends the server at once, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _recall_address(self) -> None:
        try:
            noted = json.loads(self._note.read_text())
            self._port, self._password = int(noted["port"]), str(noted["password"])
        except (OSError, ValueError, KeyError, TypeError):
            self._port, self._password = free_port(), secrets.token_urlsafe(24)

    def _launch_configured(self, binary: Path, account: Account | None) -> None:
        # The configuration goes through a pipe, because everybody on the machine can read command lines.
        options = {
            "bind": "127.0.0.1",
            "port": str(self._port),
            "protected-mode": "yes",
            "requirepass": self._password,
            "save": '""',
            "appendonly": "no",
            "daemonize": "no",
            "always-show-logo": "no",
        }
        stdin = self._launch([str(binary), "-"], death_signal=signal.SIGTERM, account=account, stdin=subprocess.PIPE)
        assert stdin is not None  # noqa: S101
        with suppress(BrokenPipeError), stdin:
            stdin.write("".join(f"{name} {value}\n" for name, value in options.items()).encode())

    def _answers(self) -> bool:
        deadline = time.monotonic() + 10
        # Another process may use the port and never answer, so we ask briefly and check our own process in between.
        once = Retry(NoBackoff(), 0)
        client = Redis(host="127.0.0.1", port=self._port, password=self._password, socket_timeout=0.5, retry=once)
        with client:
            while self.is_alive and time.monotonic() < deadline:
                try:
                    client.ping()
                except (RedisError, OSError):
                    time.sleep(0.01)
                else:
                    return True
        return False
