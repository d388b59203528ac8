"""Runs management commands in processes of their own."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Mapping

from django.conf import settings
from django.core.management.base import CommandError

from commands_platform.local import launch


def run_command(*arguments: str, environment: Mapping[str, str]) -> str:
    """Runs `manage.py` to its end and returns its output. Raises CommandError if it fails."""
    with launch.start(
        [sys.executable, "manage.py", *arguments],
        death_signal=signal.SIGTERM,
        env=dict(environment),
        cwd=settings.BASE_DIR,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            output, complaints = process.communicate()
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        said = (output + complaints).decode(errors="replace").rstrip()
        raise CommandError(f"manage.py {arguments[0]} stopped with status {process.returncode}:\n{said}")
    return output.decode()
