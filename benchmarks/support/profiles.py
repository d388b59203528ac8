"""Profiles the platform's processes with py-spy."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.support.platform import BenchmarkError, MeasuredPlatform

_SAMPLES_A_SECOND = "400"
_MAX_SECONDS = "600"


def add_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--profile", type=Path, metavar="DIRECTORY", help="Write folded stacks by py-spy, which costs speed."
    )


@contextmanager
def profiled(running: MeasuredPlatform, names: Sequence[str], directory: Path | None) -> Iterator[None]:
    """Samples these processes (such as `deliverer.1`) during the block, and writes one file of folded stacks for each.

    Without a directory it does nothing.
    """
    if directory is None:
        yield
        return
    directory.mkdir(parents=True, exist_ok=True)
    program = Path(sys.executable).with_name("py-spy")
    if not program.exists():
        raise BenchmarkError("--profile needs py-spy: pip install -r requirements/development.txt")
    samplers = [
        subprocess.Popen(
            [
                *(str(program), "record", "--subprocesses", "--format", "raw", "--rate", _SAMPLES_A_SECOND),
                *("--duration", _MAX_SECONDS, "--output", str(directory / f"{name}.folded")),
                *("--pid", str(running.process(name).pid)),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        for name in names
    ]
    try:
        yield
    finally:
        for sampler in samplers:
            sampler.send_signal(signal.SIGINT)
        for sampler in samplers:
            sampler.wait(30)
