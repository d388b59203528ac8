"""Runs a module in a process whose host's clock seems to be ahead or behind: `host_clock SECONDS MODULE ARGUMENTS`.

Timeouts and pauses are measured by another clock, which stays as it is.
"""

from __future__ import annotations

import runpy
import sys
from datetime import UTC, datetime, timedelta

import time_machine


def main(arguments: list[str]) -> None:
    seconds, module, *rest = arguments
    apart = datetime.now(UTC) + timedelta(seconds=float(seconds))
    with time_machine.travel(apart, tick=True):
        sys.argv = [module, *rest]
        runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1:])
