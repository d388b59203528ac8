"""Runs beat with a clock of its own: `python -m tests.stories.skewed_beat OFFSET STEP AFTER`, all in seconds.

The clock differs by OFFSET from the real one. After some seconds it also steps by STEP.
"""

from __future__ import annotations

import sys
import threading
from datetime import UTC, datetime, timedelta

import time_machine
from celery.__main__ import main

ARGUMENTS = ("--app", "commands_platform", "--quiet", "beat", "--pidfile=", "--loglevel", "WARNING")


def run(offset: float, step: float, after: float) -> None:
    traveller = time_machine.travel(datetime.now(UTC) + timedelta(seconds=offset), tick=True)
    clock = traveller.start()
    timer = threading.Timer(after, clock.shift, [step])
    timer.daemon = True
    timer.start()
    sys.argv = ["celery", *ARGUMENTS]
    main()


if __name__ == "__main__":
    run(*map(float, sys.argv[1:]))
