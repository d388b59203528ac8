"""Chaos: runs a steady load while processes and servers are killed, frozen and restarted, and the clock is stepped.

It prints one JSON line for each fault, and a verdict on the slots. It computes the slots by itself and compares them
with the ledger and with the receiver's log. It fails if a slot was lost or sent as two deliveries. Each of the other
scenarios has harder faults of one kind, and `all` has them all. `network` cuts one of two hosts off. `outage` measures
how fast a long backlog is sent while a load goes on.
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
from harness.chaos.hosts import enter_private_network
from harness.chaos.judge import ChaosVerdict
from harness.chaos.network import NetworkPlan, run_network_chaos
from harness.chaos.plan import CHAOS_SCENARIOS, SHORT_PLAN
from harness.chaos.run import ChaosReport, run_chaos
from harness.errors import NotPossibleHereError


def main(arguments: Sequence[str]) -> None:
    """Raises BenchmarkError if a slot was lost or sent as two deliveries."""
    options = _parser().parse_args(arguments)
    try:
        if options.scenario == "outage":
            _run_outage(quick=options.quick)
        elif options.scenario == "network":
            _run_network(options, arguments)
        else:
            _run_chaos(options)
    except NotPossibleHereError as error:
        emit(options.scenario, possible=False, reason=str(error))
        progress(f"This scenario cannot run here. {error}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks chaos", description=__doc__)
    parser.add_argument("--scenario", choices=(*CHAOS_SCENARIOS, "network", "outage"), default="chaos")
    parser.add_argument("--quick", action="store_true", help="Do a small run, to see that it works.")
    parser.add_argument("--seconds", type=int, help="Length of the load in seconds, or of the time without a network.")
    parser.add_argument("--rate", type=int, help="Slots a second.")
    parser.add_argument("--pause", type=float, help="Average seconds between two faults. 0: no faults.")
    parser.add_argument("--freeze", type=float, help="Seconds for which a process is frozen.")
    parser.add_argument("--lease", type=int, help="Seconds of a delivery's lease, in the scenario network.")
    parser.add_argument(
        "--seed", type=int, default=random.SystemRandom().randrange(10_000), help="Seed of the random choice of faults."
    )
    parser.add_argument("--log", type=Path, help="A file for the log of the platform's processes.")
    return parser


def _run_chaos(options: argparse.Namespace) -> None:
    plan = CHAOS_SCENARIOS[options.scenario]
    if options.quick:
        plan = SHORT_PLAN if options.scenario == "chaos" else replace(plan, rate=50, seconds=40)
    plan = replace(plan, seed=options.seed, **_given(options, "seconds", "rate", "pause", "freeze"))
    progress(f"{options.scenario} with --seed {plan.seed}: {plan.rate} slots a second for {plan.seconds} s")
    report = run_chaos(plan, _print_line)
    emit(options.scenario, **report.as_json())
    table(f"Chaos: {options.scenario}", _lines(report))
    _conclude(report.log, options.log, is_good=report.is_good, again=f"--seed {plan.seed}")


def _run_network(options: argparse.Namespace, arguments: Sequence[str]) -> None:
    status = enter_private_network("benchmarks", ["chaos", *arguments])
    if status is not None:
        sys.exit(status)
    plan = NetworkPlan(seconds=12, pause=8, rate=50) if options.quick else NetworkPlan()
    plan = replace(plan, **_given(options, "seconds", "rate", "lease"))
    progress(f"network: one of two hosts is cut off for {plan.seconds} s, {len(plan.cuts)} times")
    report = run_network_chaos(plan, _print_line)
    emit("network", **report.as_json())
    names = (
        "how",
        "seconds",
        "held",
        "taken_over_in",
        "slots",
        "late",
        "latest",
        "late_for",
        "late_after",
        "latest_after",
    )
    table("A host without a network", [(name, *(str(cut[name]) for cut in report.cuts)) for name in names])
    table("Chaos: network", [*_verdict_lines(report.verdict), ("failures blamed on the receiver", report.blamed)])
    _conclude(report.log, options.log, is_good=report.is_good, again="")


def _given(options: argparse.Namespace, *names: str) -> dict[str, Any]:
    return {name: value for name in names if (value := getattr(options, name)) is not None}


def _conclude(log: str, wanted_log: Path | None, *, is_good: bool, again: str) -> None:
    if wanted_log:
        wanted_log.write_text(log)
    if not is_good:
        print(log[-20_000:], file=sys.stderr)
        raise BenchmarkError(f"The verdict is bad, see its examples. {again}")


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
    return [
        *_verdict_lines(report.verdict),
        ("lag p50, s", report.lag.get("p50", 0.0)),
        ("lag p99, s", report.lag.get("p99", 0.0)),
        ("lag max, s", report.lag.get("max", 0.0)),
        ("faults", sum(report.faults.values())),
        ("seconds", report.seconds),
        ("verdict", "good" if report.is_good else "BAD"),
    ]


def _verdict_lines(verdict: ChaosVerdict) -> list[tuple[str, object]]:
    return [
        ("slots", verdict.slots),
        ("delivered", verdict.delivered),
        ("recorded as missed", verdict.missed),
        ("recorded as poison", verdict.poisoned),
        ("lost", verdict.lost),
        ("fired twice", verdict.twice),
        ("not a slot", verdict.invented),
        ("failed or unfinished", verdict.failed + verdict.unfinished),
        ("retries of recorded failures", verdict.retries),
        ("duplicates, same id", verdict.duplicates),
        ("of them unexplained", verdict.duplicates_unexplained),
    ]
