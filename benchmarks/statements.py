"""Statements: measures the cost of each step of a delivery for the worker and PostgreSQL, without a network."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any

from benchmarks.support.platform import MeasuredPlatform, Owner, platform
from benchmarks.support.results import emit, progress, table
from benchmarks.support.schedules import insert_schedules, settle

# Nobody listens there, but nothing is sent either.
_UNREACHABLE_URL = "http://127.0.0.1:65000/callback"
_STEPS = ("dispatch", "claim", "record")
_COSTS = ("client_us", "postgres_us", "wall_us")


def main(arguments: Sequence[str]) -> None:
    options = _parser().parse_args(arguments)
    if options.quick:
        options.n, options.rounds = min(options.n, 1000), 1
    with platform(processes=()) as running:
        owner = running.make_owner(_UNREACHABLE_URL)
        rounds = [_round(running, owner, options) for _ in range(options.rounds)]
    costs = {step: {cost: round(median(each[step][cost] for each in rounds), 1) for cost in _COSTS} for step in _STEPS}
    emit("statements", n=options.n, batch=options.batch, rounds=options.rounds, **costs)
    table(
        f"Microseconds for each of {options.n:,} deliveries",
        [("step", "client CPU", "PostgreSQL CPU", "wall"), *((step, *costs[step].values()) for step in _STEPS)],
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks statements", description=__doc__)
    parser.add_argument("--n", type=int, default=10_000, help="Schedules due at one instant.")
    parser.add_argument("--batch", type=int, default=150, help="Rows of one claim and of one record.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="Do a small run, to check that it works.")
    return parser


def _round(running: MeasuredPlatform, owner: Owner, options: argparse.Namespace) -> dict[str, Any]:
    progress(f"{options.n:,} due at once")
    running.execute("DELETE FROM scheduling_scheduledexecution")
    due = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=1)
    insert_schedules(running, owner, count=options.n, due=due, urls=[_UNREACHABLE_URL])
    settle(running)
    result: dict[str, Any] = running.run_module("benchmarks.support.hot_path", "--batch", str(options.batch))
    return result
