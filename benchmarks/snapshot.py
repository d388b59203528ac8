"""Snapshot: measures claims and lag while somebody keeps a snapshot open, like a forgotten transaction."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from benchmarks.burst import warm_up
from benchmarks.steady import lag_of_steady_load
from benchmarks.support.platform import MeasuredPlatform, Owner, platform
from benchmarks.support.receiver import Receiver
from benchmarks.support.results import emit, milliseconds, progress, table

_SECONDS_OF_ENDS = 10


def main(arguments: Sequence[str]) -> None:
    options = _parser().parse_args(arguments)
    if options.quick:
        options.minutes, options.rate = min(options.minutes, 0.1), min(options.rate, 50)
    with Receiver() as receiver, platform() as running:
        owner = running.make_owner(receiver.url)
        warm_up(running, owner, receiver)
        before = _measure(running, owner, receiver, options.rate)
        with running.connect() as keeper:
            keeper.autocommit = False
            keeper.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            keeper.execute("SELECT count(*) FROM deliveries_queue")
            progress(f"{options.rate} due in each second for {options.minutes} minutes with a snapshot open")
            seconds = max(1, round(options.minutes * 60))
            lag_of_steady_load(running, owner, receiver, rate=options.rate, seconds=seconds)
            after = _measure(running, owner, receiver, options.rate)
            keeper.rollback()
    emit("snapshot", minutes=options.minutes, rate=options.rate, before=before, after=after)
    table(
        f"{options.rate} a second, before a snapshot was open and after {options.minutes} minutes of it",
        [
            ("", "before", "after", "ratio"),
            *((name, before[name], after[name], after[name] / before[name]) for name in before),
        ],
    )


def _measure(running: MeasuredPlatform, owner: Owner, receiver: Receiver, rate: int) -> dict[str, float]:
    arrivals = lag_of_steady_load(running, owner, receiver, rate=rate, seconds=_SECONDS_OF_ENDS)
    lag = milliseconds([arrival.lag for arrival in arrivals])
    claim = running.run_module("benchmarks.support.claims")["claim_ms_median"]
    return {"claim, ms": claim} | {f"lag {name}": value for name, value in lag.items()}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks snapshot", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30, help="How long the snapshot stays open.")
    parser.add_argument("--rate", type=int, default=200, help="Schedules due in each second.")
    parser.add_argument("--quick", action="store_true", help="Do a small run, to check that it works.")
    return parser
