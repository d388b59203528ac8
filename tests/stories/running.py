"""The platform as its users run it: real processes by the Procfile, against servers and a database of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from redis import Redis

from commands_platform.local.ports import free_port
from commands_platform.local.servers import EmbeddedServers, temporary_servers

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Reply:
    status: int
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class RunningPlatform:
    """Web, beat, dispatcher and deliverer, each of which can be started, killed and started again."""

    def __init__(self, directory: Path, servers: EmbeddedServers) -> None:
        self.servers = servers
        self._log = directory / "platform.log"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.port = free_port()
        self.environment = os.environ | {
            "COMMANDS_EMBEDDED": "true",
            "COMMANDS_LOCAL_DIR": str(directory),
            "DATABASE_URL": servers.urls.database_url,
            "REDIS_URL": servers.urls.redis_url,
            "REDIS_KEY_PREFIX": "story:",
            "PORT": str(self.port),
            "WEB_WORKERS": "1",
            "DATABASE_POOL_SIZE": "4",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            # Waits that a test can live with. A lease still outlasts a request.
            "CALLBACK_TIMEOUT_SECONDS": "2",
            "DELIVERY_LEASE_SECONDS": "3",
            "DELIVERY_RETRY_DELAYS": "1,1,1,1,1,1,1",
        }
        commands = (line.split(": ", 1) for line in (ROOT / "Procfile").read_text().splitlines() if line)
        self._commands = dict(commands)

    def start(self, name: str, *, number: int = 1) -> None:
        """Starts one of the Procfile's processes; `number` tells several of a kind apart."""
        with self._log.open("ab") as log:
            self._processes[f"{name}.{number}"] = subprocess.Popen(  # noqa: S602 (the Procfile's own line)
                self._commands[name].replace(f"{name}@%h", f"{name}{number}@%h"),
                shell=True,
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self, name: str, *, number: int = 1) -> None:
        """Ends it as the machine would: at once, without a word."""
        process = self._processes.pop(f"{name}.{number}")
        process.kill()
        process.wait()

    def stop(self, name: str, *, number: int = 1) -> None:
        """Asks it to end, as an operator would."""
        process = self._processes.pop(f"{name}.{number}")
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise

    def stop_all(self) -> None:
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes.clear()

    def manage(self, *arguments: str) -> str:
        """Runs a management command to its end and returns its output."""
        finished = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            check=True,
            text=True,
        )
        return finished.stdout

    def call(self, method: str, path: str, body: Any = None, *, headers: dict[str, str] | None = None) -> Reply:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", **(headers or {})},
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=15) as response:
                return Reply(response.status, response.read())
        except urllib.error.HTTPError as error:
            with error:
                return Reply(error.code, error.read())

    def wait_until_ready(self, *, timeout: float = 60) -> None:
        wait_until(self._is_ready, timeout=timeout, what=lambda: f"ready; its log:\n{self.log()}")

    def log(self) -> str:
        return self._log.read_text(errors="replace")[-5000:]

    def query(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.servers.urls.database_url, autocommit=True) as connection:
            return connection.execute(statement, parameters).fetchall()

    def redis(self) -> Redis:
        return Redis.from_url(self.servers.urls.redis_url)

    def _is_ready(self) -> bool:
        try:
            return self.call("GET", "/readyz").status == 200
        except OSError:
            return False


def wait_until(condition: Any, *, timeout: float = 20, what: Any = lambda: "so") -> None:
    """Returns as soon as `condition()` is true; AssertionError when it does not become so in time."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"It did not become {what()}")
        time.sleep(0.05)


@contextmanager
def running_platform() -> Iterator[RunningPlatform]:
    """A platform that is ready, and gone afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="commands-story-"))
    # Durable: with commits that a crash may forget, a slot could be written twice.
    with temporary_servers(directory, durable=True) as servers:
        platform = RunningPlatform(directory, servers)
        platform.manage("migrate", "--noinput", "--verbosity", "0")
        try:
            for name in ("web", "beat", "dispatcher", "deliverer"):
                platform.start(name)
            platform.wait_until_ready()
            yield platform
        finally:
            platform.stop_all()


class Team:
    """An organization with a command, a user and a key, and what a client's code would do with them."""

    def __init__(self, platform: RunningPlatform, *, callback_url: str, name: str) -> None:
        self.platform = platform
        made = platform.manage(
            *("bootstrap", "--organization", name, "--command", "hello", "--callback-url", callback_url),
            *("--user", "Ada Lovelace", "--email", "ada@example.com", "--json"),
        )
        self.made: dict[str, Any] = json.loads(made)
        self.key: str = self.made["api_key"]
        self.token: str = self.post(
            "/v1/auth/fetch-command-exchange-token/", {"user_uuid": self.made["user"]["uuid"]}, token=False
        ).json["token"]

    def post(self, path: str, body: Any, *, token: bool = True) -> Reply:
        return self._call("POST", path, body, token=token)

    def put(self, path: str, body: Any) -> Reply:
        return self._call("PUT", path, body)

    def get(self, path: str) -> Reply:
        return self._call("GET", path)

    def schedule(self, **body: Any) -> str:
        """The uuid of a new schedule."""
        reply = self.post("/v1/platform/scheduling/", {"name": "story", **body})
        assert reply.status == 200, reply.body
        return str(reply.json["uuid"])

    def ledger(self, uuid: str) -> list[tuple[str, str]]:
        """State and reason of the rows of a schedule, in the order of their slots."""
        return self.platform.query(
            "SELECT state, reason FROM deliveries_delivery WHERE source_uuid = %s ORDER BY due_at", uuid
        )

    def _call(self, method: str, path: str, body: Any = None, *, token: bool = True) -> Reply:
        headers = {"X-API-KEY": self.key}
        if token:
            headers["X-EXCHANGE-TOKEN"] = self.token
        return self.platform.call(method, path, body, headers=headers)
