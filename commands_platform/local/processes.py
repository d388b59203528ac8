"""Runs several commands side by side in one terminal, and ends them together.

honcho's own manager is not used: docs/decisions/0002-embedded-servers.md says why.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Self, TextIO

from honcho.colour import get_colours
from honcho.printer import Message, Printer

from commands_platform.local import launch

# A longer line is shown in parts.
_MAX_LINE_BYTES = 64 * 1024


class StopRequestedError(BaseException):
    """The process was asked to stop while it was starting. No error handler may swallow it."""


class StopRequests:
    """Collects requests to stop: SIGINT, SIGTERM and SIGHUP."""

    def __init__(self) -> None:
        self._first: float | None = None
        self._interrupts = True
        self.is_urgent = False

    @property
    def are_there(self) -> bool:
        return self._first is not None

    def stop_interrupting(self) -> None:
        """Ends the time in which the first request raises StopRequestedError. Later requests are only noted."""
        self._interrupts = False

    def note(self) -> None:
        """Notes a request. A second one is urgent, unless it comes within half a second and may be an echo."""
        now = time.monotonic()
        if self._first is None:
            self._first = now
        elif now - self._first > 0.5:
            self.is_urgent = True

    def __enter__(self) -> Self:
        for signal_number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(signal_number, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        for signal_number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(signal_number, signal.SIG_IGN)

    def _receive(self, _signal_number: int, _frame: FrameType | None) -> None:
        self.note()
        if self._interrupts:
            self._interrupts = False
            raise StopRequestedError


@dataclass
class _Child:
    name: str
    colour: str
    process: subprocess.Popen[bytes]
    unfinished_line: bytes = field(default=b"")


class ProcessGroup:
    """Children that run and end together. Each line of their output is shown after the child's name."""

    def __init__(self, stop: StopRequests, *, patience: float = 5.0, output: TextIO = sys.stdout) -> None:
        """After `patience` seconds, children that were asked to end are killed."""
        self._stop = stop
        self._patience = patience
        self._output = _Output(output, stop)
        self._printer = Printer(self._output)
        self._colours = get_colours()
        self._children: list[_Child] = []
        self._selector = selectors.DefaultSelector()

    def reserve_width(self, names: Iterable[str]) -> None:
        """Aligns the lines from now on as if these children were already running."""
        self._printer.width = max(len(name) for name in names)

    def say(self, text: str, name: str = "up") -> None:
        self._print(name, text, None)

    def show(self, text: str) -> None:
        """Prints text without a name before each line, so that it can be copied."""
        print(text, file=self._output, flush=True)

    def start(self, name: str, command: str, *, environment: Mapping[str, str], directory: Path) -> None:
        """Runs the command in a shell. The command should begin with `exec`, because signals go to the shell's pid."""
        process = launch.start(
            ["/bin/sh", "-c", command],
            death_signal=signal.SIGTERM,
            env=dict(environment),
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        child = _Child(name, next(self._colours), process)
        self._printer.width = max(self._printer.width, len(name))
        self._children.append(child)
        assert process.stdout is not None  # noqa: S101
        self._selector.register(process.stdout, selectors.EVENT_READ, child)

    def run(self, find_problem: Callable[[], str | None]) -> int:
        """Runs until a stop is requested, a child ends or `find_problem` returns a problem. Then it ends every child.

        Returns the exit status, which is 0 only after a requested stop.
        """
        status = 0
        while not self._stop.are_there:
            self._relay(0.1)
            ended = next((child for child in self._children if child.process.poll() is not None), None)
            if ended is not None:
                status = ended.process.returncode or 1
                if status < 0:
                    # Shells report signals in this way.
                    status = 128 - status
                self._relay(0.1)
                self.say(f"{ended.name} {_how_it_ended(ended.process.returncode)}; stopping the rest")
                break
            if problem := find_problem():
                status = 1
                self.say(f"{problem}; stopping everything")
                break
        else:
            self.say("Stopping")
        self.end()
        return status

    def end(self) -> None:
        """Ends every child by SIGTERM, and by SIGKILL when patience runs out or a second stop is requested."""
        for child in self._children:
            if child.process.poll() is None:
                child.process.terminate()
        deadline = time.monotonic() + self._patience
        while alive := [child for child in self._children if child.process.poll() is None]:
            self._relay(0.05)
            if self._stop.is_urgent or time.monotonic() > deadline:
                self.say(f"Killed because they did not end in time: {', '.join(child.name for child in alive)}")
                break
        for child in self._children:
            # This kills the whole session, because a child that has ended may have left its own children.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(child.process.pid, signal.SIGKILL)
            child.process.wait()
        while self._relay(0):
            pass
        for key in list(self._selector.get_map().values()):
            self._selector.unregister(key.fileobj)
        for child in self._children:
            if child.process.stdout is not None:
                child.process.stdout.close()
        self._children.clear()

    def _relay(self, seconds: float) -> bool:
        """Waits up to `seconds` for output and shows it. Returns whether there was any."""
        ready = self._selector.select(seconds)
        for key, _ in ready:
            child: _Child = key.data
            read = os.read(key.fd, 65536)
            if not read:
                self._selector.unregister(key.fileobj)
            *lines, rest = (child.unfinished_line + read).split(b"\n")
            if rest and (not read or len(rest) > _MAX_LINE_BYTES):
                lines.append(rest)
                rest = b""
            child.unfinished_line = rest
            for line in lines:
                self._print(child.name, line.decode(errors="replace"), child.colour)
        return bool(ready)

    def _print(self, name: str, text: str, colour: str | None) -> None:
        self._printer.write(Message(type="line", data=text, time=datetime.now().astimezone(), name=name, colour=colour))


class _Output:
    """A terminal or pipe. When its reader goes away, it requests a stop and drops everything else."""

    def __init__(self, stream: TextIO, stop: StopRequests) -> None:
        self._stream = stream
        self._stop = stop
        self._is_broken = False

    def write(self, text: str) -> int:
        self._try(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        self._try(self._stream.flush)

    def isatty(self) -> bool:
        return self._stream.isatty()

    def _try(self, action: Callable[[], object]) -> None:
        if self._is_broken:
            return
        try:
            action()
        except OSError:
            self._is_broken = True
            self._stop.note()
            # Otherwise Python would flush again when it exits, and print an error.
            with Path(os.devnull).open("w") as nowhere:
                os.dup2(nowhere.fileno(), self._stream.fileno())


def _how_it_ended(status: int) -> str:
    return f"was ended by {signal.Signals(-status).name}" if status < 0 else f"stopped with status {status}"
