"""Tells which processes are on the same machine, and whether one of them has ended."""

from __future__ import annotations

from functools import cache
from pathlib import Path

_PROC = Path("/proc")


@cache
def this_machine() -> str:
    """Returns what identifies this start of the machine and this process's namespace of pids, or "" if unknown.

    Processes for which it is the same see each other under the same pids.
    """
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        namespace = (_PROC / "self/ns/pid").readlink()
    except OSError:
        return ""
    return f"{boot} {namespace}"


def has_ended(pid: int) -> bool:
    """Returns whether no process of this machine has this pid, or only one that has ended and is still listed."""
    try:
        status = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return True
    except OSError:
        return False
    # The state follows the program's name, which is in parentheses and may contain some itself.
    return status.rpartition(")")[2].split()[0] in {"Z", "X"}
