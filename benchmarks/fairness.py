"""Fairness: how much later an organization gets its callbacks because of what another organization does.

Each scenario measures the same steady load twice: alone, and beside the other organization. The p99 of the second may
be at most twice that of the first, and no delivery of the steady load may stay behind. If a scenario misses this aim,
the benchmark fails. With --quick, only deliveries that stay behind count.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from benchmarks.burst import warm_up
from benchmarks.steady import lag_of_steady_load
from benchmarks.support import profiles
from benchmarks.support.neighbours import SCENARIOS, Receivers, Scenario, Setting
from benchmarks.support.platform import BenchmarkError, MeasuredPlatform, Owner, platform
from benchmarks.support.receiver import Receiver
from benchmarks.support.results import emit, milliseconds, progress, table
from harness.aims import missed_aim
from harness.names import environment_with_names

_BEGINS_IN = 5
# The other organization's work is due this long before the steady load begins.
_HEAD_START = timedelta(seconds=2)
# A callback that has arrived is recorded within this time.
_RECORDED_WITHIN = 10


def main(arguments: Sequence[str]) -> None:
    options = _parser().parse_args(arguments)
    if unknown := set(options.scenarios) - set(SCENARIOS):
        raise BenchmarkError(f"No such scenario: {', '.join(sorted(unknown))}. There are {', '.join(SCENARIOS)}.")
    if options.quick:
        options.seconds = min(options.seconds, 2)
    names = options.scenarios or list(SCENARIOS)
    results = {}
    for group in [names] if options.together else [[name] for name in names]:
        title = "+".join(group)
        scenarios = [SCENARIOS[name] for name in group]
        progress(f"{title}: {'; '.join(scenario.about for scenario in scenarios)}")
        results[title] = result = _measure(scenarios, options)
        emit("fairness", scenario=title, rate=options.rate, kind=options.kind, seconds=options.seconds, **result)
    table(
        f"Lag in ms of {options.rate} callbacks a second, alone and beside another organization",
        [
            ("", "p50 alone", "p99 alone", "p50 beside", "p99 beside", "ratio of p99", "stayed behind", "aim"),
            *(_row(title, result) for title, result in results.items()),
        ],
    )
    misses = {title: missed for title, result in results.items() if (missed := _missed(result, is_quick=options.quick))}
    if misses:
        raise BenchmarkError("; ".join(f"{title}: {missed}" for title, missed in misses.items()))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks fairness", description=__doc__)
    parser.add_argument("scenarios", nargs="*", metavar="scenario", help=f"{', '.join(SCENARIOS)}; all by default.")
    parser.add_argument("--rate", type=int, default=50, help="Callbacks due in each second of the steady load.")
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument(
        "--kind", choices=("once", "period"), default="period", help="Single runs are not written ahead of their time."
    )
    parser.add_argument("--deliverers", type=int, default=1)
    parser.add_argument("--dispatchers", type=int, default=1)
    parser.add_argument("--together", action="store_true", help="Run the scenarios at once instead of one by one.")
    profiles.add_option(parser)
    parser.add_argument("--quick", action="store_true", help="Do small runs, to check that nothing stays behind.")
    return parser


def _measure(scenarios: Sequence[Scenario], options: argparse.Namespace) -> dict[str, Any]:
    with (
        Receiver() as receiver,
        Receiver(
            keep="none",
            hanging=max(scenario.hanging for scenario in scenarios),
            trickling=max(scenario.trickling for scenario in scenarios),
        ) as others,
        platform(
            deliverers=options.deliverers, dispatchers=options.dispatchers, environment=environment_with_names()
        ) as running,
    ):
        owner = running.make_owner(receiver.url, name="Steady")
        other = running.make_owner(others.url, name="Other")
        warm_up(running, owner, receiver)
        load_of = partial(
            lag_of_steady_load,
            *(running, owner, receiver),
            rate=options.rate,
            seconds=options.seconds,
            kind=options.kind,
            must_come=False,
        )
        alone = load_of()
        due = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=_BEGINS_IN)
        setting = Setting(running, other, Receivers(receiver, others), due, options.quick)
        with profiles.profiled(running, running.names(), options.profile):
            for scenario in scenarios:
                scenario.cause(setting)
            begins_in = max(3.0, (due + _HEAD_START - datetime.now(UTC)).total_seconds())
            beside = load_of(begins_in=round(begins_in))
        behind = _count_behind(running, owner)
        states = dict(
            running.query(
                "SELECT state, count(*) FROM deliveries_delivery WHERE organization_id = %s GROUP BY 1",
                [other.organization_id],
            )
        )
    lags = [milliseconds([arrival.lag for arrival in arrivals]) for arrivals in (alone, beside)]
    return {
        "alone": lags[0],
        "beside": lags[1],
        "ratio_of_p99": round(lags[1]["p99_ms"] / lags[0]["p99_ms"], 2),
        "behind": behind,
        "states_of_other": states,
    }


def _count_behind(running: MeasuredPlatform, owner: Owner) -> int:
    """Returns how many slots of the steady load were not delivered."""
    unfinished = (
        "SELECT (SELECT count(*) FROM deliveries_delivery WHERE organization_id = %(owner)s AND state <> 'delivered')"
        " + (SELECT count(*) FROM scheduling_scheduledexecution"
        " WHERE organization_id = %(owner)s AND next_run_at <= now())"
    )

    def count() -> int:
        return int(running.query(unfinished, {"owner": owner.organization_id})[0][0])

    try:
        running.wait_for(lambda: count() == 0, timeout=_RECORDED_WITHIN, what="some stayed behind")
    except BenchmarkError:
        return count()
    return 0


def _row(title: str, result: Mapping[str, Any]) -> tuple[Any, ...]:
    lags = [result[load][percentile] for load in ("alone", "beside") for percentile in ("p50_ms", "p99_ms")]
    return (title, *lags, result["ratio_of_p99"], result["behind"], _missed(result) or "holds")


def _missed(result: Mapping[str, Any], *, is_quick: bool = False) -> str:
    return missed_aim(ratio=result["ratio_of_p99"], behind=result["behind"], is_quick=is_quick)
