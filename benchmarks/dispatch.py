"""Dispatch: measures how fast dispatchers write a herd to the ledger, and whether several of them share the work.

Nothing is sent, so the cores are left to the dispatchers and PostgreSQL. It fails if a slot is missing or a dispatcher
did less than a quarter of its share.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any

from benchmarks.support.platform import BenchmarkError, MeasuredPlatform, Owner, platform, used_since
from benchmarks.support.results import emit, progress, table
from benchmarks.support.schedules import insert_schedules, prepare_inserts, settle
from benchmarks.support.writers import count_writes, forget_writes, rows_by_writer

# Nobody listens there, but nothing is sent either.
_UNREACHABLE_URL = "http://127.0.0.1:65000/callback"
_MIN_SHARE = 0.25


def main(arguments: Sequence[str]) -> None:
    options = _parser().parse_args(arguments)
    if options.quick:
        options.n, options.rounds = min(options.n, 4_000), 1
    rows = []
    for dispatchers in options.dispatchers:
        with platform(("beat", "dispatcher"), dispatchers=dispatchers) as running:
            owner = running.make_owner(_UNREACHABLE_URL)
            prepare_inserts(running)
            count_writes(running)
            # The first round warms the processes up.
            rounds = [_round(running, owner, options) for _ in range(options.rounds + 1)][1:]
        for number, each in enumerate(rounds, 1):
            emit("dispatch", dispatchers=dispatchers, round=number, n=options.n, kind=options.kind, **each)
        used = rounds[-1]["cpu_seconds"]
        shares = rounds[-1]["rows"].values()
        seconds = median(each["seconds"] for each in rounds)
        rows.append(
            (
                dispatchers,
                seconds,
                round(options.n / seconds),
                " + ".join(f"{share:,}" for share in shares),
                " + ".join(f"{used[name]:.2f}" for name in rounds[-1]["rows"]),
                used["postgres"],
            )
        )
        if len(shares) < dispatchers or min(shares) * dispatchers < options.n * _MIN_SHARE:
            raise BenchmarkError(f"The dispatchers did not share the work: {rounds[-1]['rows']}.")
    table(
        f"{options.n:,} slots due at once; rows and CPU seconds of the last round",
        [("dispatchers", "seconds", "rows/s", "rows of each", "CPU of each", "CPU of PostgreSQL"), *rows],
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks dispatch", description=__doc__)
    parser.add_argument("--n", type=int, default=30_000, help="Schedules due at one instant.")
    parser.add_argument("--dispatchers", type=int, nargs="+", default=[1, 2], help="Numbers to compare.")
    parser.add_argument("--kind", choices=("once", "period", "cron"), default="once", help="Single runs by default.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="Do a small run, to check that the work is shared.")
    return parser


def _round(running: MeasuredPlatform, owner: Owner, options: argparse.Namespace) -> dict[str, Any]:
    progress(f"{options.n:,} due at once")
    running.execute("TRUNCATE scheduling_scheduledexecution, deliveries_delivery CASCADE")
    due = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=5 + options.n // 3_000)
    insert_schedules(running, owner, count=options.n, due=due, urls=[_UNREACHABLE_URL], kind=options.kind)
    settle(running)
    if datetime.now(UTC) >= due - timedelta(seconds=1):
        raise BenchmarkError("The schedules were due before all of them were inserted.")
    forget_writes(running)
    before = running.cpu_seconds()
    time.sleep(max(0.0, due.timestamp() - time.time()))
    running.wait_for(lambda: _written(running)[0] >= options.n, timeout=120, what="not all slots were dispatched")
    used = used_since(before, running.cpu_seconds())
    count, last = _written(running)
    if count != options.n:
        raise BenchmarkError(f"{options.n} were due, and {count} rows were written.")
    return {
        "seconds": round((last - due).total_seconds(), 3),
        "rows": rows_by_writer(running),
        "cpu_seconds": used,
    }


def _written(running: MeasuredPlatform) -> tuple[int, datetime]:
    [(count, last)] = running.query("SELECT count(*), max(created_at) FROM deliveries_delivery")
    return count, last
