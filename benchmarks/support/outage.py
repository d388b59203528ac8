"""Measures how fast and in which order a backlog is sent after an outage, and how it delays current deliveries."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from benchmarks.support.results import milliseconds
from harness.chaos.judge import judge
from harness.chaos.load import ledger, make_backlog, make_load
from harness.chaos.platform import ChaosPlatform, chaos_platform
from harness.chaos.receiver import Arrival, running_receiver

_ANSWER_SECONDS = 0.02
_SECONDS_BEFORE_BACKLOG = 8
_OUTAGE_WORKERS = ("dispatcher.1", "deliverer.1", "deliverer.2", "beat.1")
_MAX_DRAIN_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class OutagePlan:
    """`backlog` deliveries of the last hour, while `rate` slots a second go to the first of `origins` receivers.

    If `shared`, the backlog is for that first receiver as well. Otherwise it is for all the others.
    """

    backlog: int = 20_000
    rate: int = 50
    origins: int = 5
    shared: bool = True
    after_seconds: int = 20


def run_outage(plan: OutagePlan) -> dict[str, Any]:
    """Returns rates, order and lateness of one run, and the numbers of lost and duplicated deliveries, ideally 0."""
    with (
        chaos_platform() as platform,
        running_receiver(
            platform.servers.directory / "receiver.log", answers_after=_ANSWER_SECONDS, origins=plan.origins
        ) as receiver,
    ):
        platform.prepare(receiver.url)
        for name in _OUTAGE_WORKERS:
            platform.start(name)
        span = timedelta(seconds=_SECONDS_BEFORE_BACKLOG + plan.after_seconds)
        loads = make_load(platform, rate=plan.rate, span=span)
        began = loads[0].first.timestamp() + _SECONDS_BEFORE_BACKLOG
        time.sleep(max(0.0, began - time.time()))
        urls = receiver.urls[:1] if plan.shared else receiver.urls[1:]
        make_backlog(platform, count=plan.backlog, span=timedelta(hours=1), urls=urls)
        stored = time.time()
        _await_end(platform, until=loads[0].end)
        time.sleep(0.5)
        live = {load.uuid for load in loads}
        arrivals = receiver.arrivals()
        backlog = [arrival for arrival in arrivals if arrival.schedule not in live]
        live_arrivals = [arrival for arrival in arrivals if arrival.schedule in live]
        rows = [row for row in ledger(platform) if row.schedule in live]
        verdict = judge(loads, rows, live_arrivals, [])
        distinct = {arrival.webhook_id for arrival in backlog}
        drained = max((arrival.at for arrival in backlog), default=stored)
        first = min((arrival.at for arrival in backlog), default=stored)
        during = [_lag(each) for each in live_arrivals if stored <= each.due_at.timestamp() <= drained]
        before = [_lag(each) for each in live_arrivals if each.due_at.timestamp() < began]
        return {
            "scenario": "outage",
            "backlog": plan.backlog,
            "backlog_for": "the same receiver" if plan.shared else f"{len(urls)} other receivers",
            "lost": plan.backlog - len(distinct) + verdict.lost + verdict.unfinished,
            "twice": verdict.twice,
            "duplicates": len(backlog) - len(distinct) + verdict.duplicates,
            "first_after_s": round(first - stored, 2),
            "drained_after_s": round(drained - stored, 2),
            "drained_per_s": round(len(distinct) / max(drained - first, 0.001)),
            "order": measure_order([arrival.due_at for arrival in sorted(backlog, key=lambda arrival: arrival.at)]),
            "live_lag_before": milliseconds(before),
            "live_lag_during": {"count": len(during), **milliseconds(during)},
        }


def _await_end(platform: ChaosPlatform, *, until: datetime) -> None:
    deadline = time.monotonic() + _MAX_DRAIN_SECONDS
    while time.monotonic() < deadline:
        time.sleep(0.5)
        ((pending, now),) = platform.query(
            "SELECT (SELECT count(*) FROM deliveries_delivery WHERE state = 'pending'), clock_timestamp()"
        )
        if not pending and now > until:
            return


def _lag(arrival: Arrival) -> float:
    return arrival.at - arrival.due_at.timestamp()


def measure_order(due: Sequence[datetime]) -> dict[str, float]:
    """Returns how far a sequence of due times is from being sorted.

    `inverted` is the share of pairs in the wrong order, from a sample: 0 is sorted, 0.5 is shuffled. `displaced_p99`
    and `displaced_max` count places.
    """
    count = len(due)
    if count < 2:
        return {}
    ranked = sorted(range(count), key=lambda index: due[index])
    displaced = sorted(abs(place - index) for place, index in enumerate(ranked))
    chosen = random.Random(0)
    pairs = [sorted((chosen.randrange(count), chosen.randrange(count))) for _ in range(200_000)]
    inverted = sum(due[earlier] > due[later] for earlier, later in pairs)
    return {
        "inverted": round(inverted / len(pairs), 4),
        "displaced_p99": displaced[int(count * 0.99)],
        "displaced_max": displaced[-1],
    }
