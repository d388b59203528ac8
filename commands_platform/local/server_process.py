"""The common part of PostgreSQL and Valkey: one process in a directory, and its log file."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from commands_platform.local import launch
from commands_platform.local.launch import Account
from commands_platform.local.programs import clean_environment

# A log that is larger than this is renamed at the next start.
_MAX_LOG_BYTES = 5_000_000


class ServerProcess:
    """A server program that works in `directory` and appends to `log`."""

    name: str

    def __init__(self, directory: Path, *, log: Path) -> None:
        self.log = log
        self._directory = directory
        self._log_position = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _open_log(self) -> None:
        """Starts a new section of the log, which `_log_tail` reads."""
        self.log.touch(mode=0o600)
        self._log_position = self.log.stat().st_size
        if self._log_position > _MAX_LOG_BYTES:
            self.log.replace(self.log.with_suffix(".log.1"))
            self.log.touch(mode=0o600)
            self._log_position = 0

    def _log_tail(self) -> str:
        with self.log.open("rb") as log:
            log.seek(self._log_position)
            return "\n".join(log.read().decode(errors="replace").splitlines()[-15:])

    def _launch(
        self,
        command: Sequence[str],
        *,
        death_signal: signal.Signals,
        account: Account | None,
        stdin: int = subprocess.DEVNULL,
    ) -> IO[bytes] | None:
        """Starts the program. Returns its standard input, if it is a pipe."""
        with self.log.open("ab") as output:
            self._process = launch.start(
                command,
                death_signal=death_signal,
                account=account,
                env=clean_environment(),
                cwd=self._directory,
                stdin=stdin,
                stdout=output,
                stderr=output,
            )
        return self._process.stdin
