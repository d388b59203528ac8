"""One run of the whole platform on this machine: servers, migrations, and the processes of the Procfile."""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from django.conf import settings
from django.core.management.base import CommandError
from honcho.environ import parse_procfile

from commands_platform.local import leftovers
from commands_platform.local.directory import STARTED_BY_UP, forget_server_urls, write_server_urls
from commands_platform.local.errors import AlreadyRunningError
from commands_platform.local.first_steps import FirstSteps, prepare_first_steps
from commands_platform.local.management import run_command
from commands_platform.local.ports import describe_listener, free_port
from commands_platform.local.processes import ProcessGroup, StopRequests
from commands_platform.local.readiness import Readiness
from commands_platform.local.servers import EmbeddedServers

_LOOPBACK_FOR = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104
# Root may try things out, and `collectstatic` is not needed here.
_EXPECTED_WARNINGS = ("ignore:You're running the worker with superuser privileges", "ignore:No directory at")


class Run:
    """Starts everything in order, serves until it is told to stop, and leaves nothing behind."""

    def __init__(self, host: str, port: int, stop: StopRequests) -> None:
        self._local_dir = Path(os.path.realpath(settings.LOCAL_DIR))
        self._host = host
        self._port = port
        self._reachable_host = _LOOPBACK_FOR.get(host, host)
        self._base_url = f"http://{_in_url(self._reachable_host)}:{port}"
        self._stop = stop
        self._processes: dict[str, str] = parse_procfile((settings.BASE_DIR / "Procfile").read_text()).processes
        self._group = ProcessGroup(stop)
        self._group.reserve_width(self._processes)
        self._servers = EmbeddedServers(
            self._local_dir,
            database_url=os.environ.get("DATABASE_URL", ""),
            redis_url=os.environ.get("REDIS_URL", ""),
        )

    def run(self) -> int:
        """Returns the exit status, which is 0 after a requested stop."""
        try:
            self._servers.claim(f"at {self._base_url}/ as process {os.getpid()}")
        except AlreadyRunningError as error:
            raise CommandError(f"It is already running {error}. Stop it first, with Ctrl-C or kill.") from error
        try:
            leftovers.end(leftovers.children_of_up(self._local_dir), first=signal.SIGTERM, patience=5)
            self._check_port()
            environment = self._start_servers()
            self._group.say("Bringing the database up to date")
            run_command("migrate", "--noinput", environment=environment)
            first_steps = prepare_first_steps(
                self._local_dir, base_url=self._base_url, environment=environment, say=self._group.say
            )
            return self._serve(environment, first_steps)
        finally:
            self._stop.stop_interrupting()
            self._group.end()
            forget_server_urls(self._local_dir)
            self._servers.stop()
            self._group.say("Stopped")

    def _check_port(self) -> None:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        with socket.socket(family) as probe:
            # The web server does the same, so that connections that were just closed do not block the port.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((self._host, self._port))
            except PermissionError as error:
                raise CommandError(f"Port {self._port} is for root only. Choose another: make run PORT=8000") from error
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise CommandError(
                        f"HOST={self._host} is not an address of this machine ({error.strerror})."
                    ) from error
                holder = describe_listener(self._port) or "another process"
                raise CommandError(
                    f"Port {self._port} is taken by {holder}. Choose another: make run PORT={free_port()}"
                ) from error

    def _start_servers(self) -> dict[str, str]:
        """Starts our servers and returns the environment for every process that uses them."""
        began = time.monotonic()
        self._servers.start()
        if names := " and ".join(server.name for server in self._servers.own):
            self._group.say(f"{names} started in {time.monotonic() - began:.1f} s, under {self._local_dir}")
        urls = self._servers.urls
        write_server_urls(self._local_dir, urls)
        return os.environ | {
            "COMMANDS_EMBEDDED": "true",
            "COMMANDS_LOCAL_DIR": str(self._local_dir),
            "DATABASE_URL": urls.database_url,
            "REDIS_URL": urls.redis_url,
            "HOST": self._host,
            "PORT": str(self._port),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "PYTHONUNBUFFERED": "1",
            "PYTHONWARNINGS": ",".join(filter(None, (os.environ.get("PYTHONWARNINGS"), *_EXPECTED_WARNINGS))),
            "LOG_CALLBACKS": os.environ.get("LOG_CALLBACKS") or "true",
            STARTED_BY_UP: str(self._local_dir),
        }

    def _serve(self, environment: Mapping[str, str], first_steps: FirstSteps) -> int:
        commands = {
            **self._processes,
            "receiver": f"exec python manage.py receiver --port {first_steps.receiver_port}",
        }
        self._stop.stop_interrupting()
        self._group.say("Starting web, beat, dispatcher, deliverer and receiver")
        for name, command in commands.items():
            self._group.start(name, command, environment=environment, directory=settings.BASE_DIR)
        readiness = Readiness(self._reachable_host, self._port)
        readiness.start()

        def look_after() -> str | None:
            if report := readiness.progress_report():
                self._group.say(report)
            if readiness.became_ready():
                self._group.show(first_steps.banner())
                if lacks := readiness.lacks():
                    self._group.say(f"It works, but callbacks may be up to a second late. Missing: {', '.join(lacks)}")
            dead = self._servers.find_dead()
            return f"{dead.name} has ended, see {dead.log}" if dead else None

        return self._group.run(look_after)


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
