"""Finds and ends processes that a killed run left behind. It never trusts recorded pids, because pids are reused."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

from commands_platform.local.directory import STARTED_BY_UP


def servers_in(directory: Path, program: str) -> list[psutil.Process]:
    """Returns processes called `program` that work in `directory`. Both servers change to their data directory."""
    wanted = os.path.realpath(directory)
    return [process for process in _others() if _is_called(process, program) and _works_in(process, wanted)]


def children_of_up(local_directory: Path) -> list[psutil.Process]:
    """Returns processes of earlier runs of `manage.py up` on this local directory, grandchildren included."""
    wanted = os.path.realpath(local_directory)
    return [process for process in _others() if _environment_of(process).get(STARTED_BY_UP) == wanted]


def end(processes: Sequence[psutil.Process], *, first: signal.Signals, patience: float) -> None:
    """Sends `first` to those without a parent among them, and SIGKILL to all that run after `patience` seconds."""
    pids = {process.pid for process in processes}
    for process in processes:
        if _parent_pid(process) not in pids:
            _send(process, first)
    for process in _await_end(processes, patience):
        _send(process, signal.SIGKILL)
    _await_end(processes, 2.0)


def _await_end(processes: Sequence[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Waits for the processes to end. Returns those that still run. psutil's own wait would include zombies."""
    deadline = time.monotonic() + seconds
    while (alive := [process for process in processes if _is_alive(process)]) and time.monotonic() < deadline:
        time.sleep(0.02)
    return alive


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _others() -> Iterator[psutil.Process]:
    own = {os.getpid(), *(process.pid for process in psutil.Process().parents())}
    return (process for process in psutil.process_iter() if process.pid not in own)


def _is_called(process: psutil.Process, program: str) -> bool:
    try:
        return process.name() == program and _is_alive(process)
    except psutil.Error:
        return False


def _works_in(process: psutil.Process, directory: str) -> bool:
    try:
        return process.cwd() == directory or directory in process.cmdline()
    except psutil.Error:
        return False


def _environment_of(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ()
    except (psutil.Error, OSError):
        return {}


def _parent_pid(process: psutil.Process) -> int | None:
    try:
        return process.ppid()
    except psutil.Error:
        return None


def _send(process: psutil.Process, signal_number: signal.Signals) -> None:
    try:
        process.send_signal(signal_number)
    except psutil.Error:
        return
