"""Finds the account that runs the servers. PostgreSQL refuses to run as root, so root uses another account for both."""

from __future__ import annotations

import logging
import os
import pwd
import stat
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from commands_platform.local.errors import EmbeddedServerError
from commands_platform.local.launch import Account

logger = logging.getLogger(__name__)

_SERVERS_ACCOUNT = "commands-servers"


def account_for(directory: Path) -> Account | None:
    """Returns the account under which root runs a server, or None if this process does not run as root."""
    if os.geteuid() != 0:
        return None
    if directory.exists() and (owner := directory.stat()).st_uid != 0:
        return Account(owner.st_uid, owner.st_gid)
    entry = _find_or_make_account(_SERVERS_ACCOUNT)
    return Account(entry.pw_uid, entry.pw_gid)


def hand_over(directory: Path, account: Account | None) -> None:
    """Makes the directory private to the account that runs the server, and lets that account reach it."""
    directory.mkdir(mode=0o700, exist_ok=True)
    if account:
        os.chown(directory, account.user, account.group)
        let_through(directory, account)
    directory.chmod(0o700)


def let_through(path: Path, account: Account) -> None:
    """Lets the account pass through every directory above `path`. It does not let the account list them."""
    for parent in path.parents:
        status = parent.stat()
        if status.st_mode & stat.S_IXOTH or (status.st_uid == account.user and status.st_mode & stat.S_IXUSR):
            continue
        try:
            parent.chmod(stat.S_IMODE(status.st_mode) | stat.S_IXOTH)
        except OSError as error:
            raise EmbeddedServerError(out_of_reach(parent)) from error
        if parent != path.parent:
            logger.warning("Other accounts can now pass through %s, because the servers do not run as root.", parent)


def out_of_reach(path: Path) -> str:
    return (
        f"The servers do not run as root, and the account that runs them cannot reach {path}. "
        "Move this checkout to a directory that everybody may enter (/opt, /srv), or run it as an ordinary user."
    )


def _find_or_make_account(name: str) -> pwd.struct_passwd:
    command = ["useradd", "--system", "--user-group", "--no-create-home"]
    command += ["--home-dir", "/", "--shell", "/bin/false", name]
    problem = ""
    for _ in range(10):
        with suppress(KeyError):
            return pwd.getpwnam(name)
        try:
            # Another checkout that is starting may hold the lock of the account files, or may have made the account.
            subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
        except FileNotFoundError as error:
            problem = str(error)
            break
        except subprocess.CalledProcessError as error:
            problem = error.stderr.strip()
            time.sleep(0.2)
    raise EmbeddedServerError(
        f"PostgreSQL refuses to run as root, and an account for it could not be made ({problem}). "
        f"Run this as an ordinary user, or make a system account called {name}."
    )
