"""A small file system for the data of PostgreSQL."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.errors import NotPossibleHereError


@contextmanager
def small_disk(directory: Path, *, megabytes: int) -> Iterator[None]:
    """Mounts an empty file system of this size. Raises NotPossibleHereError if this process may not."""
    directory.mkdir(mode=0o700, parents=True)
    options = f"size={megabytes}m,mode=0700"
    mounted = _run("mount", "-t", "tmpfs", "-o", options, "commands-chaos", str(directory))
    if mounted.returncode:
        raise NotPossibleHereError(f"No tmpfs can be mounted: {mounted.stderr.strip()}")
    try:
        yield
    finally:
        _run("umount", "--lazy", str(directory))


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, check=False, text=True)
