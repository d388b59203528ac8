"""Starts commands that end when this process ends, however it ends. On systems other than Linux they keep running.

This file is also a script. A new interpreter runs it and then becomes the command. In a process that has threads,
Python code between fork and exec may hang, and newer Pythons warn about it.
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
    """A system account, by the numbers of its user and group."""

    user: int
    group: int


def start(
    command: Sequence[str], *, death_signal: signal.Signals, account: Account | None = None, **options: Any
) -> subprocess.Popen[bytes]:
    """Starts the command in its own session, with these options of `subprocess.Popen`.

    Ctrl-C in the terminal does not reach it. It gets `death_signal` when this process ends. Only root can give an
    account.
    """
    # The kernel watches the thread that forks. Any thread but the main one may end long before the process.
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
        # This must come after setuid, which clears it.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
        if os.getppid() != parent:
            sys.exit("The process that started this one has ended.")
    try:
        os.execvp(command[0], command)  # noqa: S606
    except OSError as error:
        sys.exit(f"{command[0]}: {error.strerror}")


if __name__ == "__main__":
    _become(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:])
