"""Chaos: runs a steady load while processes and servers are killed, frozen and restarted, and the clock is stepped.

It prints one JSON line for each fault, and a verdict on the slots. It computes the slots by itself and compares them
with the ledger and with the receiver's log. It fails if a slot was lost or sent as two deliveries. `--scenario outage`
measures instead how fast a long backlog is sent while a load goes on.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.support.outage import OutagePlan, run_outage
from benchmarks.support.platform import BenchmarkError
from benchmarks.support.results import emit, progress, table
from harness.chaos.faults import ChaosPlan
from harness.chaos.run import SHORT_PLAN, ChaosReport, run_chaos


def main(arguments: Sequence[str]) -> None:
    """Raises BenchmarkError if a slot was lost or sent as two deliveries."""
    options = _parser().parse_args(arguments)
    if options.scenario == "outage":
        _run_outage(quick=options.quick)
        return
    base = SHORT_PLAN if options.quick else ChaosPlan()
    given = {
        name: value for name in ("seconds", "rate", "pause", "freeze") if (value := getattr(options, name)) is not None
    }
    plan = replace(base, seed=options.seed, **given)
    progress(f"chaos with --seed {plan.seed}: {plan.rate} slots a second for {plan.seconds} s")
    report = run_chaos(plan, _print_line)
    emit("chaos", **report.as_json())
    table("Chaos", _lines(report))
    if options.log:
        options.log.write_text(report.log)
    if not report.is_good:
        print(report.log[-20_000:], file=sys.stderr)
        raise BenchmarkError(
            f"A slot was lost or sent as two deliveries, or a worker ended by itself (--seed {plan.seed})."
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks chaos", description=__doc__)
    parser.add_argument("--scenario", choices=("chaos", "outage"), default="chaos")
    parser.add_argument("--quick", action="store_true", help="Do a small run, as the test suite does.")
    parser.add_argument("--seconds", type=int, help="Length of the load in seconds.")
    parser.add_argument("--rate", type=int, help="Slots a second.")
    parser.add_argument("--pause", type=float, help="Average seconds between two faults. 0: no faults.")
    parser.add_argument("--freeze", type=float, help="Seconds for which a process is frozen.")
    parser.add_argument(
        "--seed", type=int, default=random.SystemRandom().randrange(10_000), help="Seed of the random choice of faults."
    )
    parser.add_argument("--log", type=Path, help="A file for the log of the platform's processes.")
    return parser


def _run_outage(*, quick: bool) -> None:
    results = []
    for shared in (True, False):
        plan = OutagePlan(shared=shared, backlog=2000, after_seconds=8) if quick else OutagePlan(shared=shared)
        progress(f"sending {plan.backlog:,} deliveries of the last hour")
        result = run_outage(plan)
        emit("outage", **result)
        results.append(result)
    names = (
        "backlog_for",
        "lost",
        "twice",
        "duplicates",
        "drained_per_s",
        "order",
        "live_lag_before",
        "live_lag_during",
    )
    table("A backlog after an outage", [(name, *(str(result[name]) for result in results)) for name in names])
    if any(result["lost"] or result["twice"] for result in results):
        raise BenchmarkError("A delivery was lost or made twice.")


def _print_line(fact: dict[str, Any]) -> None:
    print(json.dumps(fact), flush=True)


def _lines(report: ChaosReport) -> list[tuple[str, object]]:
    verdict = report.verdict
    return [
        ("slots", verdict.slots),
        ("delivered", verdict.delivered),
        ("recorded as missed", verdict.missed),
        ("lost", verdict.lost),
        ("fired twice", verdict.twice),
        ("not a slot", verdict.invented),
        ("failed or unfinished", verdict.failed + verdict.unfinished),
        ("retries of recorded failures", verdict.retries),
        ("duplicates, same id", verdict.duplicates),
        ("of them unexplained", verdict.duplicates_unexplained),
        ("lag p50, s", report.lag.get("p50", 0.0)),
        ("lag p99, s", report.lag.get("p99", 0.0)),
        ("faults", sum(report.faults.values())),
        ("seconds", report.seconds),
        ("verdict", "good" if report.is_good else "BAD"),
    ]
