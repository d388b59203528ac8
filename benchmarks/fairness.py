"""Fairness: measures how much later a healthy receiver gets callbacks while another one never answers its requests."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from benchmarks.burst import warm_up
from benchmarks.steady import lag_of_steady_load
from benchmarks.support.platform import platform
from benchmarks.support.receiver import Receiver
from benchmarks.support.results import emit, milliseconds, progress, table
from benchmarks.support.schedules import insert_schedules


def main(arguments: Sequence[str]) -> None:
    options = _parser().parse_args(arguments)
    if options.quick:
        options.hanging, options.seconds = min(options.hanging, 200), min(options.seconds, 3)
    with Receiver(hanging=1) as receiver, platform(deliverers=options.deliverers) as running:
        owner = running.make_owner(receiver.url)
        warm_up(running, owner, receiver)
        progress("the healthy receiver alone")
        alone = lag_of_steady_load(running, owner, receiver, rate=options.rate, seconds=options.seconds)
        progress(f"with {options.hanging:,} due for one that hangs")
        begins_in = 5
        due = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=begins_in)
        insert_schedules(running, owner, count=options.hanging, due=due, urls=receiver.hanging_urls)
        beside = lag_of_steady_load(
            running, owner, receiver, rate=options.rate, seconds=options.seconds, begins_in=begins_in - 1
        )
        hung = receiver.counts().hanging_count
        states = running.query(
            "SELECT state, count(*) FROM deliveries_delivery WHERE url = %s GROUP BY 1", receiver.hanging_urls[:1]
        )
    lags = [milliseconds([arrival.lag for arrival in arrivals]) for arrivals in (alone, beside)]
    emit(
        "fairness",
        hanging=options.hanging,
        rate=options.rate,
        seconds=options.seconds,
        deliverers=options.deliverers,
        alone=lags[0],
        beside_hanging=lags[1],
        ratio_of_p99=round(lags[1]["p99_ms"] / lags[0]["p99_ms"], 2),
        requests_that_hung=hung,
        states_of_hanging=dict(states),
    )
    table(
        f"Lag of {options.rate} a second to a healthy receiver, ms",
        [("", *lags[0]), ("alone", *lags[0].values()), ("beside one that hangs", *lags[1].values())],
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks fairness", description=__doc__)
    parser.add_argument("--hanging", type=int, default=5000, help="Callbacks due at once for the receiver that hangs.")
    parser.add_argument("--rate", type=int, default=50, help="Callbacks due in each second for the healthy receiver.")
    parser.add_argument("--seconds", type=int, default=40)
    parser.add_argument("--deliverers", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="Do a small run, to check that it works.")
    return parser
