"""Steady: measures how late callbacks arrive when few of very many stored schedules are due in each second.

It also measures the cost of a tick with few and with many stored schedules, and shows the plan of its query.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from benchmarks.burst import warm_up
from benchmarks.support import profiles
from benchmarks.support.platform import BenchmarkError, MeasuredPlatform, Owner, platform
from benchmarks.support.receiver import Receiver, TimedArrival
from benchmarks.support.results import emit, milliseconds, progress, table
from benchmarks.support.schedules import insert_schedules, settle

_FEW = 10_000
# Much later than the end of any benchmark.
_FAR = timedelta(days=30)


def main(arguments: Sequence[str]) -> None:
    options = _parser().parse_args(arguments)
    if options.quick:
        options.stored, options.seconds = min(options.stored, 20_000), min(options.seconds, 3)
    with Receiver() as receiver, platform(deliverers=options.deliverers) as running:
        owner = running.make_owner(receiver.url)
        warm_up(running, owner, receiver)
        few = min(_FEW, options.stored)
        _store(running, owner, receiver, few)
        tick_of_few = running.run_module("benchmarks.support.tick")
        progress(f"storing {options.stored:,} schedules")
        _store(running, owner, receiver, options.stored - few)
        tick_of_many = running.run_module("benchmarks.support.tick")
        progress(f"{options.rate} due in each of {options.seconds} seconds")
        with profiles.profiled(running, running.names(), options.profile):
            arrivals = lag_of_steady_load(running, owner, receiver, rate=options.rate, seconds=options.seconds)
    lag = milliseconds([arrival.lag for arrival in arrivals])
    emit(
        "steady",
        stored=options.stored,
        rate=options.rate,
        seconds=options.seconds,
        deliverers=options.deliverers,
        lag=lag,
        first_of_each_second=milliseconds(_first_lags(arrivals)),
        tick={str(few): tick_of_few, str(options.stored): tick_of_many},
    )
    table(
        f"Lag of {options.rate} due in each second among {options.stored:,} stored",
        [(name, value) for name, value in lag.items()],
    )
    table(
        "One tick with nothing due",
        [
            ("stored", "tick ms", "claim ms", "blocks read"),
            *(
                (f"{stored:,}", tick["tick_ms_median"], tick["claim"]["ms"], tick["claim"]["buffers"])
                for stored, tick in ((few, tick_of_few), (options.stored, tick_of_many))
            ),
        ],
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks steady", description=__doc__)
    parser.add_argument(
        "--stored", type=int, default=1_000_000, help="Schedules that are stored but not due during the benchmark."
    )
    parser.add_argument("--rate", type=int, default=200, help="Schedules due in each second.")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--deliverers", type=int, default=1)
    profiles.add_option(parser)
    parser.add_argument("--quick", action="store_true", help="Do a small run, to check that it works.")
    return parser


def _store(running: MeasuredPlatform, owner: Owner, receiver: Receiver, count: int) -> None:
    if count:
        due = datetime.now(UTC).replace(microsecond=0) + _FAR
        insert_schedules(running, owner, count=count, due=due, urls=receiver.urls, each_second=100)
    settle(running)


def lag_of_steady_load(
    running: MeasuredPlatform,
    owner: Owner,
    receiver: Receiver,
    *,
    rate: int,
    seconds: int,
    begins_in: int = 3,
    kind: str = "period",
    must_come: bool = True,
) -> list[TimedArrival]:
    """Makes `rate` schedules due in each of `seconds` seconds. Returns their arrivals, once all have come.

    If some have not come after a minute, it raises BenchmarkError, or returns the others unless all `must_come`.
    """
    begin = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=begins_in + rate * seconds // 3_000)
    receiver.reset()
    insert_schedules(running, owner, count=rate * seconds, due=begin, urls=receiver.urls, kind=kind, each_second=rate)
    if datetime.now(UTC) >= begin:
        raise BenchmarkError("The schedules were due before all of them were inserted.")
    # Nothing else is requested meanwhile.
    time.sleep(begin.timestamp() + seconds - time.time())
    try:
        running.wait_for(
            lambda: receiver.counts().count >= rate * seconds, timeout=60, what="not all callbacks came", every=0.2
        )
    except BenchmarkError:
        if must_come or running.ended():
            raise
    return receiver.arrivals()


def _first_lags(arrivals: Sequence[TimedArrival]) -> list[float]:
    first: dict[float, float] = {}
    for arrival in arrivals:
        first[arrival.due] = min(arrival.lag, first.get(arrival.due, arrival.lag))
    return list(first.values())
