"""Fairness: how much later an organization gets its callbacks because of what another organization does.

Each scenario measures the same steady load twice: alone, and beside the other organization. The p99 of the second may
be at most twice that of the first, and no delivery of the steady load may stay behind.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from benchmarks.burst import warm_up
from benchmarks.steady import lag_of_steady_load
from benchmarks.support.hooks import insert_hooks
from benchmarks.support.platform import MeasuredPlatform, Owner, platform
from benchmarks.support.receiver import Receiver
from benchmarks.support.results import emit, milliseconds, progress, table
from benchmarks.support.schedules import insert_schedules, settle
from harness.names import environment_with_names, hanging_name

_BEGINS_IN = 5
# The other organization's work is due this long before the steady load begins.
_HEAD_START = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class Receivers:
    """The receiver of the steady load, and those of the other organization."""

    steady: Receiver
    others: Receiver


_Cause = Callable[[MeasuredPlatform, Owner, Receivers, datetime], None]


@dataclass(frozen=True, slots=True)
class Scenario:
    """The other organization's work, and how many ports of each kind its receivers have."""

    about: str
    cause: _Cause
    hanging: int = 0
    trickling: int = 0
    names: bool = False
    """Whether it needs names that hang."""


def main(arguments: Sequence[str]) -> None:
    options = _parser().parse_args(arguments)
    if options.quick:
        options.seconds = min(options.seconds, 4)
    rows = []
    for name in options.scenarios or SCENARIOS:
        progress(f"{name}: {SCENARIOS[name].about}")
        result = _measure(SCENARIOS[name], rate=options.rate, seconds=options.seconds, deliverers=options.deliverers)
        emit("fairness", scenario=name, rate=options.rate, seconds=options.seconds, **result)
        alone, beside = result["alone"], result["beside"]
        rows.append(
            (
                name,
                alone["p50_ms"],
                alone["p99_ms"],
                beside["p50_ms"],
                beside["p99_ms"],
                result["ratio_of_p99"],
                result["behind"],
            )
        )
    table(
        f"Lag in ms of {options.rate} callbacks a second, alone and beside another organization",
        [("", "p50 alone", "p99 alone", "p50 beside", "p99 beside", "ratio of p99", "stayed behind"), *rows],
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks fairness", description=__doc__)
    parser.add_argument("scenarios", nargs="*", metavar="scenario", help=f"{', '.join(SCENARIOS)}; all by default.")
    parser.add_argument("--rate", type=int, default=50, help="Callbacks due in each second of the steady load.")
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--deliverers", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="A small one, to see that it runs.")
    return parser


def _measure(scenario: Scenario, *, rate: int, seconds: int, deliverers: int) -> dict[str, Any]:
    with (
        Receiver() as receiver,
        Receiver(keep="none", hanging=scenario.hanging, trickling=scenario.trickling) as others,
        platform(deliverers=deliverers, environment=environment_with_names() if scenario.names else None) as running,
    ):
        owner = running.make_owner(receiver.url, name="Steady")
        other = running.make_owner(others.url, name="Other")
        warm_up(running, owner, receiver)
        alone = lag_of_steady_load(running, owner, receiver, rate=rate, seconds=seconds)
        due = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=_BEGINS_IN)
        scenario.cause(running, other, Receivers(receiver, others), due)
        begins_in = max(3.0, (due + _HEAD_START - datetime.now(UTC)).total_seconds())
        beside = lag_of_steady_load(running, owner, receiver, rate=rate, seconds=seconds, begins_in=round(begins_in))
        [(behind,)] = running.query(
            "SELECT count(*) FROM deliveries_delivery WHERE organization_id = %s AND state <> 'delivered'",
            [owner.organization_id],
        )
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


def _schedules(count: int, urls: Callable[[Receivers], Sequence[str]], **values: Any) -> _Cause:
    def cause(running: MeasuredPlatform, other: Owner, receivers: Receivers, due: datetime) -> None:
        insert_schedules(running, other, count=count, due=due, urls=urls(receivers), **values)
        if count > 50_000:
            settle(running)

    return cause


def _publish_to_many_hooks(running: MeasuredPlatform, other: Owner, _: Receivers, due: datetime) -> None:
    insert_hooks(running, other, count=5_000, pattern="kudos.*")
    settle(running)
    time.sleep(max(0.0, (due - datetime.now(UTC)).total_seconds()))
    running.run_module("benchmarks.support.hooks", str(other.organization_id), "kudos.posted")


def _fail_before_many_hooks(running: MeasuredPlatform, other: Owner, receivers: Receivers, _: datetime) -> None:
    insert_hooks(running, other, count=500, pattern="platform.*")
    settle(running)
    due = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=2)
    urls = receivers.others.hanging_urls
    insert_schedules(running, other, count=200, due=due, urls=urls, timeout=1, max_attempts=1)


SCENARIOS = {
    "one": Scenario(
        "5,000 callbacks for one receiver that hangs",
        _schedules(5_000, lambda receivers: receivers.others.hanging_urls),
        hanging=1,
    ),
    "path": Scenario(
        "2,000 callbacks for a path that hangs, at the origin of the steady load",
        _schedules(2_000, lambda receivers: [receivers.steady.url.replace("/callback", "/hanging")]),
    ),
    "origins": Scenario(
        "3,000 callbacks for 300 receivers that hang",
        _schedules(3_000, lambda receivers: receivers.others.hanging_urls),
        hanging=300,
    ),
    "silent": Scenario(
        "200 callbacks for 200 receivers that hang, each with a timeout of 30 s",
        _schedules(200, lambda receivers: receivers.others.hanging_urls, timeout=30),
        hanging=200,
    ),
    "trickle": Scenario(
        "500 callbacks for a receiver that answers one byte a second",
        _schedules(500, lambda receivers: receivers.others.trickling_urls),
        trickling=1,
    ),
    "names": Scenario(
        "1,000 callbacks for 100 names whose resolution hangs",
        _schedules(1_000, lambda _: [f"http://{hanging_name(number)}:8080/callback" for number in range(100)]),
        names=True,
    ),
    "hooks": Scenario("an event that 5,000 hooks want", _publish_to_many_hooks),
    "failures": Scenario("200 failed callbacks that 500 hooks hear of", _fail_before_many_hooks, hanging=20),
    "herd": Scenario(
        "120,000 callbacks due at one instant for a receiver that answers",
        _schedules(120_000, lambda receivers: receivers.others.urls),
    ),
}
