"""Burst: measures how fast many schedules that are due at one instant are delivered and recorded.

It compares that with a bare libcurl loop that POSTs copies of one of the callbacks to the same receiver.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any

from benchmarks.support import profiles
from benchmarks.support.platform import BenchmarkError, MeasuredPlatform, Owner, platform, used_since
from benchmarks.support.receiver import Receiver
from benchmarks.support.results import emit, milliseconds, progress, table
from benchmarks.support.schedules import insert_schedules, prepare_inserts, settle
from benchmarks.support.writers import count_writes, forget_writes, rows_by_writer
from benchmarks.support.yardstick import Yardstick, measure_bare

# The defaults of DELIVERY_WINDOW and DELIVERY_ORIGIN_LIMIT, which limit the requests in flight of one deliverer.
_DELIVERER_WINDOW = 100
_ORIGIN_LIMIT = 50


def main(arguments: Sequence[str]) -> None:
    options = _parser().parse_args(arguments)
    if options.quick:
        options.n, options.rounds = min(options.n, 500), 1
    with (
        Receiver(answering=options.origins) as receiver,
        platform(deliverers=options.deliverers, dispatchers=options.dispatchers) as running,
    ):
        owner = running.make_owner(receiver.url)
        warm_up(running, owner, receiver)
        if options.dispatchers > 1:
            count_writes(running)
        with profiles.profiled(running, [name for name in running.names() if "beat" not in name], options.profile):
            rounds = [_round(running, owner, receiver, options) for _ in range(options.rounds)]
    for number, each in enumerate(rounds, 1):
        emit("burst", round=number, n=options.n, kind=options.kind, origins=options.origins, **each)
    rates = [each["rate"] for each in rounds]
    bare = [each["bare_rate"] for each in rounds]
    emit(
        "burst.summary",
        n=options.n,
        deliverers=options.deliverers,
        dispatchers=options.dispatchers,
        rounds=options.rounds,
        rate_median=round(median(rates)),
        rate_best=max(rates),
        bare_rate_median=round(median(bare)),
        ratio=round(median(rates) / median(bare), 3),
    )
    table(
        f"{options.n:,} schedules due at once, {options.deliverers} deliverers",
        [
            ("round", "seconds", "deliveries/s", "bare libcurl/s", "ratio"),
            *(
                (number, each["seconds"], each["rate"], each["bare_rate"], each["ratio"])
                for number, each in enumerate(rounds, 1)
            ),
        ],
    )
    table("CPU seconds of the last round", sorted(rounds[-1]["cpu_seconds"].items()))
    if options.dispatchers > 1:
        table("Rows that each dispatcher wrote in the last round", sorted(rounds[-1]["rows_by_dispatcher"].items()))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks burst", description=__doc__)
    parser.add_argument("--n", type=int, default=10_000, help="Schedules due at one instant.")
    parser.add_argument("--deliverers", type=int, default=2)
    parser.add_argument(
        "--dispatchers", type=int, default=1, help="With several, the rows that each of them writes are counted."
    )
    parser.add_argument(
        "--origins", type=int, default=1, help="Number of receivers. Each has its own limit of requests in flight."
    )
    parser.add_argument("--kind", choices=("once", "period", "cron"), default="period")
    parser.add_argument("--rounds", type=int, default=3)
    profiles.add_option(parser)
    parser.add_argument("--quick", action="store_true", help="Do a small run, to check that it works.")
    return parser


def warm_up(running: MeasuredPlatform, owner: Owner, receiver: Receiver, *, count: int = 200) -> None:
    """Delivers some schedules, so that every process has done its part once."""
    prepare_inserts(running)
    deliver(running, owner, receiver, count=count, kind="period", timeout=90)


def deliver(
    running: MeasuredPlatform,
    owner: Owner,
    receiver: Receiver,
    *,
    count: int,
    kind: str,
    timeout: float = 120,
    on_ready: Callable[[], None] = lambda: None,
) -> datetime:
    """Makes `count` schedules due at one instant, and waits until all are recorded as delivered. Returns the instant.

    `on_ready` is called when they are stored and nothing is due yet.
    """
    running.execute("DELETE FROM scheduling_scheduledexecution")
    # A whole second, when a tick comes. It leaves enough time to insert them on a busy machine.
    due = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=4 + count // 3_000)
    insert_schedules(running, owner, count=count, due=due, urls=receiver.urls, kind=kind)
    settle(running)
    if datetime.now(UTC) >= due:
        raise BenchmarkError("The schedules were due before all of them were inserted.")
    receiver.reset()
    on_ready()
    time.sleep(max(0.0, due.timestamp() - time.time()))
    # Asking the receiver meanwhile costs the platform nothing.
    running.wait_for(
        lambda: receiver.counts().count >= count, timeout=timeout, what="not all callbacks came", every=0.02
    )
    running.wait_for(
        lambda: _unfinished(running) == 0, timeout=timeout, what="not all deliveries were recorded", every=0.02
    )
    return due


def _unfinished(running: MeasuredPlatform) -> int:
    return int(running.query("SELECT count(*) FROM deliveries_delivery WHERE state = 'pending'")[0][0])


def _round(running: MeasuredPlatform, owner: Owner, receiver: Receiver, options: argparse.Namespace) -> dict[str, Any]:
    progress(f"burst of {options.n:,}")
    before: dict[str, float] = {}

    def note_cpu() -> None:
        if options.dispatchers > 1:
            forget_writes(running)
        before.update(running.cpu_seconds() | {"receiver": _cpu(receiver)})

    due = deliver(running, owner, receiver, count=options.n, kind=options.kind, on_ready=note_cpu)
    used = used_since(before, running.cpu_seconds() | {"receiver": _cpu(receiver)})
    result = _figures(running, receiver, due, options.n)
    bare = _bare(receiver, options)
    if options.dispatchers > 1:
        result["rows_by_dispatcher"] = rows_by_writer(running)
    return {
        **result,
        "bare_rate": round(bare.rate),
        "ratio": round(result["rate"] / bare.rate, 3),
        "cpu_seconds": used,
        "bare_cpu_seconds": round(bare.cpu_seconds, 2),
    }


def _figures(running: MeasuredPlatform, receiver: Receiver, due: datetime, n: int) -> dict[str, Any]:
    [(delivered, attempts, written, finished)] = running.query(
        "SELECT count(*) FILTER (WHERE state = 'delivered'), sum(attempt_count), max(created_at), max(finished_at)"
        " FROM deliveries_delivery WHERE due_at = %s",
        [due],
    )
    received = receiver.counts()
    if (delivered, attempts, received.count) != (n, n, n):
        raise BenchmarkError(f"{n} were due, {delivered} delivered by {attempts} attempts, {received.count} received.")
    seconds = (finished - due).total_seconds()
    return {
        "seconds": round(seconds, 3),
        "rate": round(n / seconds),
        "dispatched_after_seconds": round((written - due).total_seconds(), 3),
        "first_received_after_seconds": round(received.first - due.timestamp(), 3),
        "last_received_after_seconds": round(received.last - due.timestamp(), 3),
        "lag": milliseconds([arrival.lag for arrival in receiver.arrivals()]),
    }


def _bare(receiver: Receiver, options: argparse.Namespace) -> Yardstick:
    request = receiver.sample()
    receiver.reset()
    return measure_bare(
        request,
        urls=receiver.urls,
        count=options.n,
        window=min(_DELIVERER_WINDOW, _ORIGIN_LIMIT * options.origins),
        processes=options.deliverers,
    )


def _cpu(receiver: Receiver) -> float:
    times = receiver.process.cpu_times()
    return float(times.user + times.system)
