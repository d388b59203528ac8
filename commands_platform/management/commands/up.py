"""`make run`: everything on this machine, with nothing installed beforehand but Python."""

from __future__ import annotations

import errno
import http.client
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from honcho.environ import parse_procfile

from commands_platform.local import launch, leftovers
from commands_platform.local import servers as embedded
from commands_platform.local.processes import ProcessGroup, StopRequestedError, StopRequests
from commands_platform.local.servers import EmbeddedServers

_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104
# Running as root is fine for trying things out, and there is no `collectstatic` to run before.
_EXPECTED_WARNINGS = ("ignore:You're running the worker with superuser privileges", "ignore:No directory at")
# How often a start that takes long says what it still waits for.
_SECONDS_BETWEEN_NEWS = 15


class Command(BaseCommand):
    help = "Runs the whole platform on this machine: private servers, migrations, web, beat, workers, a receiver."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default=os.environ.get("HOST") or "127.0.0.1", help="The address to listen on.")
        parser.add_argument("--port", default=os.environ.get("PORT") or "8000", help="The port to listen on.")

    def handle(self, *args: Any, **options: Any) -> None:
        port = options["port"]
        if not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
            raise CommandError(f"PORT must be a number from 1 to 65535, not {port!r}.")
        with StopRequests() as stop:
            try:
                status = _Run(options["host"], int(port), stop).run()
            except StopRequestedError:
                status = 0
            except embedded.EmbeddedServerError as error:
                raise CommandError(str(error)) from error
        sys.exit(status)


@dataclass(frozen=True)
class _FirstSteps:
    base_url: str
    receiver_port: int
    bootstrap: dict[str, Any]
    admin: dict[str, Any]

    def banner(self) -> str:
        """Where everything is, and a request to paste into a second terminal."""
        body: dict[str, Any] = {
            "name": "hello",
            "command_uuid": self.bootstrap["command"]["uuid"],
            "execution_frequency": 2,
            "repeats": 3,
            "payload": {"text": "Hello"},
        }
        if self.receiver_port != self.bootstrap["receiver_port"]:
            # Somebody else has the port that the command's own callback URL names.
            body["callback_url"] = f"http://127.0.0.1:{self.receiver_port}/callback"
        return f"""
  Ready at {self.base_url}/

  Docs      {self.base_url}/v1/docs/
  Admin     {self.base_url}/admin/   login {self.admin["username"]}, password {self.admin["password"]}
  API key   {self.bootstrap["api_key"]}
  Command   {self.bootstrap["command"]["uuid"]}   {self.bootstrap["command"]["name"]}
  User      {self.bootstrap["user"]["uuid"]}   {self.bootstrap["user"]["full_name"]}

  Paste this into another terminal; three callbacks will arrive here, two seconds apart:

  curl -X POST {self.base_url}/v1/platform/scheduling/ \\
    -H 'X-API-KEY: {self.bootstrap["api_key"]}' \\
    -H 'Content-Type: application/json' \\
    -d '{json.dumps(body)}'

  Ctrl-C stops everything. The data stays.
"""


class _Readiness(threading.Thread):
    """Asks /readyz until it answers 200, aside from the thread that shows what the processes print."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(daemon=True)
        self._host = host
        self._port = port
        # Any name that the web answers to: a Host it does not know is refused before /readyz is reached.
        self._name = next((name for name in settings.ALLOWED_HOSTS if name.strip("*.") == name), "localhost")
        self._is_ready = threading.Event()
        self._is_told = False
        self._answer = "no answer"
        self._next_news = time.monotonic() + _SECONDS_BETWEEN_NEWS

    def run(self) -> None:
        while not self._is_ready.is_set():
            with suppress(OSError, http.client.HTTPException):
                self._ask()
            time.sleep(0.1)

    def is_new(self) -> bool:
        """True once: the first time this is asked after the platform became ready."""
        if self._is_told or not self._is_ready.is_set():
            return False
        self._is_told = True
        return True

    def news(self) -> str | None:
        """What a start that takes long still waits for, every few seconds."""
        if self._is_ready.is_set() or time.monotonic() < self._next_news:
            return None
        self._next_news = time.monotonic() + _SECONDS_BETWEEN_NEWS
        return f"Not ready yet: /readyz says {self._answer}"

    def _ask(self) -> None:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=2)
        try:
            connection.request("GET", "/readyz", headers={"Host": self._name})
            response = connection.getresponse()
            self._answer = f"{response.status} {response.read(500).decode(errors='replace').strip()}"
            if response.status == http.HTTPStatus.OK:
                self._is_ready.set()
        finally:
            connection.close()


class _Run:
    def __init__(self, host: str, port: int, stop: StopRequests) -> None:
        self._local = Path(os.path.realpath(settings.LOCAL_DIR))
        self._host = host
        self._port = port
        self._base_url = f"http://{_in_url(_ANY_ADDRESS.get(host, host))}:{port}"
        self._stop = stop
        self._group = ProcessGroup(stop)
        self._servers = EmbeddedServers(
            self._local,
            database_url=os.environ.get("DATABASE_URL", ""),
            redis_url=os.environ.get("REDIS_URL", ""),
        )

    def run(self) -> int:
        """The exit status: 0 after a requested stop. Nothing that was started is left, whatever happens."""
        try:
            self._servers.claim(f"at {self._base_url}/ as process {os.getpid()}")
        except embedded.AlreadyRunningError as error:
            raise CommandError(f"It runs already {error}. Stop that one first, with Ctrl-C or kill.") from error
        try:
            leftovers.end(leftovers.children_of_up(self._local), first=signal.SIGTERM, patience=5)
            self._check_port()
            environment = self._start_servers()
            self._manage("migrate", "--noinput", environment=environment, doing="Bringing the database up to date")
            start = self._first_steps(environment)
            return self._serve(environment, start)
        finally:
            self._stop.stop_interrupting()
            self._group.end()
            embedded.forget_connection(self._local)
            self._servers.stop()
            self._group.say("Stopped")

    def _check_port(self) -> None:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        with socket.socket(family) as probe:
            # As the web server does: a connection that has just been closed is no obstacle.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((self._host, self._port))
            except PermissionError as error:
                raise CommandError(f"Port {self._port} is for root only: choose another, make run PORT=8000") from error
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise CommandError(
                        f"HOST={self._host} is no address of this machine ({error.strerror})."
                    ) from error
                holder = leftovers.listener(self._port) or "somebody else"
                raise CommandError(
                    f"Port {self._port} is taken by {holder}. Choose another: make run PORT={embedded.free_port()}"
                ) from error

    def _start_servers(self) -> dict[str, str]:
        """Starts what is ours and returns the environment for every process that uses it."""
        began = time.monotonic()
        self._servers.start()
        if names := " and ".join(server.name for server in self._servers.own):
            self._group.say(f"{names} started in {time.monotonic() - began:.1f} s, under {self._local}")
        connection = self._servers.connection
        embedded.write_connection(self._local, connection)
        return os.environ | {
            "COMMANDS_EMBEDDED": "true",
            "COMMANDS_LOCAL_DIR": str(self._local),
            "DATABASE_URL": connection.database_url,
            "REDIS_URL": connection.redis_url,
            "HOST": self._host,
            "PORT": str(self._port),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "PYTHONUNBUFFERED": "1",
            "PYTHONWARNINGS": ",".join(filter(None, (os.environ.get("PYTHONWARNINGS"), *_EXPECTED_WARNINGS))),
            leftovers.MARKER: str(self._local),
        }

    def _first_steps(self, environment: Mapping[str, str]) -> _FirstSteps:
        """What a newcomer needs to get in; made when this database is met for the first time."""
        database = _identity_of(environment["DATABASE_URL"])
        receiver_port = self._receiver_port()
        bootstrap = self._remembered("bootstrap.json", database)
        if bootstrap is None:
            bootstrap = {"database": database, **self._bootstrap(environment, receiver_port)}
            self._remember("bootstrap.json", bootstrap)
        admin = self._remembered("admin.json", database)
        if admin is None:
            admin = {"database": database, **self._make_admin(environment)}
            self._remember("admin.json", admin)
        return _FirstSteps(self._base_url, receiver_port, bootstrap, admin)

    def _bootstrap(self, environment: Mapping[str, str], receiver_port: int) -> dict[str, Any]:
        output = self._manage(
            *("bootstrap", "--organization", "Acme", "--command", "hello"),
            *("--callback-url", f"http://127.0.0.1:{receiver_port}/callback"),
            *("--user", "Ada Lovelace", "--email", "ada@example.com", "--json"),
            environment=environment,
            doing="Making a first organization, command, user and API key",
        )
        made: dict[str, Any] = json.loads(output)
        return {**made, "receiver_port": receiver_port}

    def _make_admin(self, environment: Mapping[str, str]) -> dict[str, str]:
        password = secrets.token_urlsafe(12)
        try:
            self._manage(
                *("createsuperuser", "--noinput", "--username", "admin", "--email", "admin@example.com"),
                environment={**environment, "DJANGO_SUPERUSER_PASSWORD": password},
                doing="Making the admin's login",
            )
        except CommandError as error:
            if "already taken" not in str(error):
                raise
            password = "(as it was; `manage.py changepassword admin` sets another)"  # noqa: S105
        return {"username": "admin", "password": password}

    def _receiver_port(self) -> int:
        """The port of the last run while nobody else has taken it, since the command's callback URL names it."""
        noted = self._local / "receiver_port"
        with suppress(OSError, ValueError):
            port = int(noted.read_text())
            with socket.create_server(("127.0.0.1", port)):
                return port
        port = embedded.free_port()
        embedded.write_private(noted, str(port))
        return port

    def _manage(self, *arguments: str, environment: Mapping[str, str], doing: str) -> str:
        """Runs another management command to its end and returns what it printed."""
        self._group.say(doing)
        with launch.start(
            [sys.executable, "manage.py", *arguments],
            death_signal=signal.SIGTERM,
            env=dict(environment),
            cwd=settings.BASE_DIR,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            try:
                output, complaints = process.communicate()
            except BaseException:
                process.kill()
                raise
        if process.returncode:
            said = (output + complaints).decode(errors="replace").rstrip()
            raise CommandError(f"manage.py {arguments[0]} stopped with status {process.returncode}:\n{said}")
        return output.decode()

    def _serve(self, environment: Mapping[str, str], first_steps: _FirstSteps) -> int:
        procfile = parse_procfile((settings.BASE_DIR / "Procfile").read_text())
        commands = {
            **procfile.processes,
            "receiver": f"exec python manage.py receiver --port {first_steps.receiver_port}",
        }
        self._stop.stop_interrupting()
        self._group.say("Starting web, beat, dispatcher, deliverer and receiver")
        for name, command in commands.items():
            self._group.start(name, command, environment=environment, directory=settings.BASE_DIR)
        readiness = _Readiness(_ANY_ADDRESS.get(self._host, self._host), self._port)
        readiness.start()

        def look_after() -> str | None:
            if news := readiness.news():
                self._group.say(news)
            if readiness.is_new():
                self._group.show(first_steps.banner())
            dead = self._servers.dead()
            return f"{dead.name} has ended, see {dead.log}" if dead else None

        return self._group.run(look_after)

    def _remembered(self, name: str, database: str) -> dict[str, Any] | None:
        """What was kept in the file, if it was about this database."""
        try:
            kept = json.loads((self._local / name).read_text())
        except (OSError, ValueError):
            return None
        return kept if isinstance(kept, dict) and kept.get("database") == database else None

    def _remember(self, name: str, content: Mapping[str, Any]) -> None:
        embedded.write_private(self._local / name, json.dumps(content, indent=2) + "\n")


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _identity_of(database_url: str) -> str:
    """Tells this database from every other one, also from an earlier one at the same place that was deleted."""
    query = "SELECT system_identifier, oid FROM pg_control_system(), pg_database WHERE datname = current_database()"
    try:
        with psycopg.connect(database_url, connect_timeout=5) as connection:
            row = connection.execute(query).fetchone()
    except psycopg.Error:
        # Not every provider lets its customers look there.
        row = None
    return "/".join(map(str, row)) if row else sha256(database_url.encode()).hexdigest()
