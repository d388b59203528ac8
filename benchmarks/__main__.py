"""`python -m benchmarks NAME [options]`: runs one benchmark, or each of them if NAME is `all`."""

from __future__ import annotations

import importlib
import signal
import sys
from typing import Any

from benchmarks.support.platform import BenchmarkError

NAMES = (
    *(
        "burst",
        "dispatch",
        "sustained",
        "steady",
        "alone",
        "statements",
        "api",
        "memory",
        "fairness",
        "hostile",
        "ledger_size",
        "snapshot",
    ),
    *("lists", "chaos"),
)

_USAGE = f"""usage: python -m benchmarks {{{",".join(NAMES)},all}} [options]

Each benchmark prints its results as JSON lines on stdout and as tables on stderr. It starts its own servers and
receivers on loopback, and ends them. `NAME --help` explains its options, and `--quick` makes it small."""


def main(arguments: list[str]) -> int:
    if not arguments or arguments[0] not in (*NAMES, "all"):
        print(_USAGE, file=sys.stdout if arguments in (["--help"], ["-h"]) else sys.stderr)
        return 0 if arguments in (["--help"], ["-h"]) else 2
    # With SystemExit, every context manager ends the processes that it started.
    signal.signal(signal.SIGTERM, _exit)
    name, *options = arguments
    try:
        for each in NAMES if name == "all" else (name,):
            importlib.import_module(f"benchmarks.{each}").main(options)
    except BenchmarkError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    return 0


def _exit(*_: Any) -> None:
    sys.exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
