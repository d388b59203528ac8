"""Sustained: how many callbacks a second the platform sends for minutes while their lag stays small.

Four in five are due on whole seconds, and the others are single runs between them. Five receivers take 1 to 300 ms, and
one request in a hundred fails and is retried. A rate is sustained if the p99 of the first attempts' lag is at most
500 ms. The benchmark finds the highest such rate by bisection, and then holds it for five times as long.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

from benchmarks.burst import warm_up
from benchmarks.support.platform import BenchmarkError, MeasuredPlatform, Owner, platform, used_since
from benchmarks.support.receiver import Receiver
from benchmarks.support.results import emit, progress, table
from benchmarks.support.schedules import insert_schedules, settle

_DELAYS = (0.001, 0.01, 0.05, 0.15, 0.3)
_ONE_IN_FAILS = 100
_MAX_P99_MS = 500.0
_SINGLES_AT = tuple(number / 10 for number in range(1, 10))
_SHARE_OF_SINGLES = 0.2
_DRAIN_SECONDS = 20

# A lag is the time from the due instant to the start of the first attempt.
_LAGS = """
SELECT percentile_disc(ARRAY[0.5, 0.95, 0.99, 1]) WITHIN GROUP (ORDER BY extract(epoch FROM lag) * 1000), count(*)
FROM (
    SELECT COALESCE(to_timestamp((first->>1)::bigint / 1e6), now()) - due_at AS lag
    FROM deliveries_delivery, CAST(NULLIF(split_part(attempts, E'\\n', 1), '') AS jsonb) first
    WHERE due_at >= %s AND due_at < %s
) lags
"""


def main(arguments: Sequence[str]) -> None:
    options = _parser().parse_args(arguments)
    if options.quick:
        options.seconds, options.high, options.rounds = 4, 200, 1
    with ExitStack() as stack:
        receivers = [
            stack.enter_context(Receiver(keep="none", delay=delay, failing=_ONE_IN_FAILS if not number else 0))
            for number, delay in enumerate(_DELAYS)
        ]
        running = stack.enter_context(platform(deliverers=options.deliverers, dispatchers=options.dispatchers))
        owner = running.make_owner(receivers[0].url)
        warm_up(running, owner, receivers[0])
        low, high, rows = 0, options.high, []
        for _ in range(options.rounds):
            rate = high if not low and high == options.high else (low + high) // 2
            result = _measure(running, owner, receivers, rate=rate, seconds=options.seconds)
            rows.append(_row(rate, options.seconds, result))
            if result["p99_ms"] <= _MAX_P99_MS:
                low = rate
                if rate == options.high:
                    break
            else:
                high = rate
        if low:
            held = _measure(running, owner, receivers, rate=low, seconds=options.seconds * 5)
            rows.append(_row(low, options.seconds * 5, held))
            emit("sustained.summary", rate=low, **held)
    table("Lag of the first attempts in ms", [("rate", "seconds", "p50", "p95", "p99", "max", "CPU s a second"), *rows])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks sustained", description=__doc__)
    parser.add_argument(
        "--seconds", type=int, default=60, help="Length of a round. The last one is five times as long."
    )
    parser.add_argument("--high", type=int, default=8_000, help="The highest rate to try.")
    parser.add_argument("--rounds", type=int, default=6, help="Rounds of the bisection.")
    parser.add_argument("--deliverers", type=int, default=2)
    parser.add_argument("--dispatchers", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="A small one, to see that it runs.")
    return parser


def _measure(
    running: MeasuredPlatform, owner: Owner, receivers: Sequence[Receiver], *, rate: int, seconds: int
) -> dict[str, Any]:
    progress(f"{rate:,} a second for {seconds} s")
    settle(running)
    begins_in = 12 + rate * seconds // 15_000
    begin = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=begins_in)
    urls = [receiver.url for receiver in receivers]
    singles = int(rate * _SHARE_OF_SINGLES) // len(_SINGLES_AT)
    herd = rate - singles * len(_SINGLES_AT)
    insert_schedules(running, owner, count=herd * seconds, due=begin, urls=urls, each_second=herd)
    for offset in _SINGLES_AT:
        due = begin + timedelta(seconds=offset)
        if singles:
            count = singles * seconds
            insert_schedules(running, owner, count=count, due=due, urls=urls, each_second=singles, kind="once")
    if datetime.now(UTC) >= begin:
        raise BenchmarkError("The schedules were due before all of them were inserted.")
    time.sleep(begin.timestamp() - time.time())
    before = running.cpu_seconds()
    time.sleep(seconds)
    used = used_since(before, running.cpu_seconds())
    end = begin + timedelta(seconds=seconds)
    deadline = time.monotonic() + _DRAIN_SECONDS
    while time.monotonic() < deadline and _unsent(running, end):
        time.sleep(0.5)
    [(lags, count)] = running.query(_LAGS, [begin, end])
    p50, p95, p99, most = (round(float(lag), 1) for lag in lags)
    cpu = round(sum(used.values()) / seconds, 2)
    lost = rate * seconds - count
    return {"p50_ms": p50, "p95_ms": p95, "p99_ms": p99, "max_ms": most, "cpu_per_second": cpu, "not_dispatched": lost}


def _unsent(running: MeasuredPlatform, end: datetime) -> bool:
    [(is_due, is_pending)] = running.query(
        "SELECT EXISTS (SELECT FROM scheduling_scheduledexecution WHERE is_active AND next_run_at < %(end)s),"
        " EXISTS (SELECT FROM deliveries_delivery WHERE state = 'pending' AND due_at < %(end)s AND attempts = '')",
        {"end": end},
    )
    return bool(is_due or is_pending)


def _row(rate: int, seconds: int, result: dict[str, Any]) -> tuple[Any, ...]:
    return (rate, seconds, *(result[name] for name in ("p50_ms", "p95_ms", "p99_ms", "max_ms", "cpu_per_second")))
