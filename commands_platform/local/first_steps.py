"""Prepares the first steps of a newcomer: an organization with a key, a login to the admin, and a request to try."""

from __future__ import annotations

import json
import secrets
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import psycopg
from django.core.management.base import CommandError

from commands_platform.local.directory import write_private
from commands_platform.local.management import run_command
from commands_platform.local.ports import free_port


@dataclass(frozen=True)
class FirstSteps:
    """A newcomer's organization, key and login, and the URLs to use them at."""

    base_url: str
    receiver_port: int
    bootstrap: dict[str, Any]
    admin: dict[str, Any]

    def banner(self) -> str:
        """Returns where everything is, with a request to paste into a second terminal."""
        body: dict[str, Any] = {
            "name": "hello",
            "command_uuid": self.bootstrap["command"]["uuid"],
            "execution_frequency": 2,
            "repeats": 3,
            "payload": {"text": "Hello"},
        }
        if self.receiver_port != self.bootstrap["receiver_port"]:
            # Another process uses the port of the command's own callback URL.
            body["callback_url"] = f"http://127.0.0.1:{self.receiver_port}/callback"
        return f"""
  Ready at {self.base_url}/

  Docs      {self.base_url}/v1/docs/
  Admin     {self.base_url}/admin/   login {self.admin["username"]}, password {self.admin["password"]}
  API key   {self.bootstrap["api_key"]}
  Command   {self.bootstrap["command"]["uuid"]}   {self.bootstrap["command"]["name"]}
  User      {self.bootstrap["user"]["uuid"]}   {self.bootstrap["user"]["full_name"]}

  Paste this into another terminal. Three callbacks will arrive here, two seconds apart:

  curl -X POST {self.base_url}/v1/platform/scheduling/ \\
    -H 'X-API-KEY: {self.bootstrap["api_key"]}' \\
    -H 'Content-Type: application/json' \\
    -d '{json.dumps(body)}'

  Ctrl-C stops everything. The data stays.
"""


def prepare_first_steps(
    local_dir: Path, *, base_url: str, environment: Mapping[str, str], say: Callable[[str], None]
) -> FirstSteps:
    """Returns the first steps that an earlier run made for this database, or makes them now."""
    database = _identity_of(environment["DATABASE_URL"])
    receiver_port = _receiver_port(local_dir)
    bootstrap = _recall(local_dir / "bootstrap.json", database)
    if bootstrap is None:
        say("Making a first organization, command, user and API key")
        bootstrap = {"database": database, **_bootstrap(environment, receiver_port)}
        _remember(local_dir / "bootstrap.json", bootstrap)
    admin = _recall(local_dir / "admin.json", database)
    if admin is None:
        say("Making the admin's login")
        admin = {"database": database, **_make_admin(environment)}
        _remember(local_dir / "admin.json", admin)
    return FirstSteps(base_url, receiver_port, bootstrap, admin)


def _bootstrap(environment: Mapping[str, str], receiver_port: int) -> dict[str, Any]:
    output = run_command(
        *("bootstrap", "--organization", "Acme", "--command", "hello"),
        *("--callback-url", f"http://127.0.0.1:{receiver_port}/callback"),
        *("--user", "Ada Lovelace", "--email", "ada@example.com", "--json"),
        environment=environment,
    )
    made: dict[str, Any] = json.loads(output)
    return {**made, "receiver_port": receiver_port}


def _make_admin(environment: Mapping[str, str]) -> dict[str, str]:
    password = secrets.token_urlsafe(12)
    try:
        run_command(
            *("createsuperuser", "--noinput", "--username", "admin", "--email", "admin@example.com"),
            environment={**environment, "DJANGO_SUPERUSER_PASSWORD": password},
        )
    except CommandError as error:
        if "already taken" not in str(error):
            raise
        password = "(unchanged; `manage.py changepassword admin` sets another)"  # noqa: S105
    return {"username": "admin", "password": password}


def _receiver_port(local_dir: Path) -> int:
    """Returns the port of the last run, which is in the command's callback URL, or a new one if that is taken."""
    noted = local_dir / "receiver_port"
    with suppress(OSError, ValueError):
        port = int(noted.read_text())
        with socket.create_server(("127.0.0.1", port)):
            return port
    port = free_port()
    write_private(noted, str(port))
    return port


def _recall(path: Path, database: str) -> dict[str, Any] | None:
    """Returns the content of the file, or None if it does not belong to this database."""
    try:
        kept = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return kept if isinstance(kept, dict) and kept.get("database") == database else None


def _remember(path: Path, content: Mapping[str, Any]) -> None:
    write_private(path, json.dumps(content, indent=2) + "\n")


def _identity_of(database_url: str) -> str:
    """Returns an identifier of this database. A database that was deleted and made again gets another one."""
    query = "SELECT system_identifier, oid FROM pg_control_system(), pg_database WHERE datname = current_database()"
    try:
        with psycopg.connect(database_url, connect_timeout=5) as connection:
            row = connection.execute(query).fetchone()
    except psycopg.Error:
        # Some providers do not let their customers read it.
        row = None
    return "/".join(map(str, row)) if row else sha256(database_url.encode()).hexdigest()
