"""Starts commands that end when the process that started them ends, however it ended (Linux; elsewhere they stay).

The file is also the script that a fresh interpreter runs to become the command: Python code between the fork and the
exec of a process that has threads may hang, and newer Pythons warn about it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Account:
    """A system account, by numbers."""

    user: int
    group: int


def start(
    command: Sequence[str], *, death_signal: signal.Signals, account: Account | None = None, **options: Any
) -> subprocess.Popen[bytes]:
    """The command, as `subprocess.Popen` starts it with these options, in a session of its own.

    A terminal's Ctrl-C does not reach it. `death_signal` does when this process ends; root may name another account.
    """
    # The kernel watches the thread that forks: any but the main one may end long before the process does.
    watched = threading.current_thread() is threading.main_thread()
    launcher = [
        *(sys.executable, "-I", "-S", str(Path(__file__).resolve())),
        str(os.getpid()),
        str(int(death_signal) if watched else 0),
        f"{account.user}:{account.group}" if account else "",
    ]
    return subprocess.Popen([*launcher, *command], start_new_session=True, **options)  # noqa: S603


def _become(parent: int, death_signal: int, account: str, command: list[str]) -> None:
    if account:
        user, group = (int(number) for number in account.split(":"))
        os.setgroups([group])
        os.setgid(group)
        os.setuid(user)
    if sys.platform == "linux" and death_signal:
        # Only now: setuid clears it.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
        if os.getppid() != parent:
            sys.exit("The process that started this one has ended.")
    try:
        os.execvp(command[0], command)  # noqa: S606
    except OSError as error:
        sys.exit(f"{command[0]}: {error.strerror}")


if __name__ == "__main__":
    _become(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:])
