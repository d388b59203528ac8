"""The local directory, which has the data that `make run` keeps between runs, and the addresses of its servers.

The settings import this module, so it must not import anything that production does not have.
"""

from __future__ import annotations

import json
import os
import pwd
import secrets
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from commands_platform.local.errors import LocalDirectoryError

# Every process that `manage.py up` starts has this environment variable. Its value is the local directory.
STARTED_BY_UP = "COMMANDS_STARTED_BY_UP"

_URLS_FILE = "embedded.json"


@dataclass(frozen=True)
class ServerUrls:
    """The addresses of PostgreSQL and Valkey."""

    database_url: str
    redis_url: str


def read_server_urls(local_dir: Path) -> ServerUrls | None:
    """Returns the addresses of the servers of a running `manage.py up`.

    Returns None if it does not run, or if another account runs it.
    """
    try:
        return ServerUrls(**json.loads((local_dir / _URLS_FILE).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def write_server_urls(local_dir: Path, urls: ServerUrls) -> None:
    write_private(local_dir / _URLS_FILE, json.dumps(asdict(urls)))


def forget_server_urls(local_dir: Path) -> None:
    (local_dir / _URLS_FILE).unlink(missing_ok=True)


def secret_key(local_dir: Path) -> str:
    """Returns the key that signs this directory's tokens: 64 random characters, made on first use."""
    path = local_dir / "secret_key"
    try:
        if key := path.read_text().strip():
            return key
        path.unlink()
    except FileNotFoundError:
        prepare_directory(local_dir)
    except PermissionError as error:
        raise LocalDirectoryError(_belongs_to_another_account(local_dir)) from error
    fresh = _write_beside(path, secrets.token_urlsafe(48))
    # Several processes may get here at once. The first one wins: unlike rename, link refuses to replace a file.
    with suppress(FileExistsError):
        os.link(fresh, path)
    fresh.unlink()
    return path.read_text()


def prepare_directory(directory: Path) -> None:
    """Makes the directory, readable by this account only. Raises LocalDirectoryError if another account owns it."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise LocalDirectoryError(
            f"{directory} cannot be made ({error.strerror}): set COMMANDS_LOCAL_DIR to a directory of your own"
        ) from error
    if directory.stat().st_uid != os.geteuid():
        raise LocalDirectoryError(_belongs_to_another_account(directory))


def write_private(path: Path, text: str) -> None:
    """Writes the file as a whole or not at all, readable by this account only."""
    _write_beside(path, text).replace(path)


def _write_beside(path: Path, text: str) -> Path:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    return Path(name)


def _belongs_to_another_account(directory: Path) -> str:
    owner = directory.stat().st_uid
    with suppress(KeyError):
        return (
            f"{directory} belongs to {pwd.getpwuid(owner).pw_name}: run this as that account, "
            "or set COMMANDS_LOCAL_DIR to a directory of your own"
        )
    return f"{directory} belongs to user id {owner}: set COMMANDS_LOCAL_DIR to a directory of your own"
