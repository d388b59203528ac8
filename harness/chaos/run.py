"""One chaos run: a steady load, the faults of a plan, and a verdict on every slot."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from harness.chaos.faults import CLOCK_STEPS, TIMEOUT_SECONDS, ChaosPlan, Faults
from harness.chaos.judge import ChaosVerdict, Load, judge
from harness.chaos.load import ledger, make_load
from harness.chaos.platform import ChaosPlatform, chaos_platform
from harness.chaos.receiver import RunningReceiver, running_receiver

# The plan of the test suite.
SHORT_PLAN = ChaosPlan(rate=50, seconds=26, dispatchers=2, deliverers=2, beats=2, pause=2.3, freeze=7.0)

# The receiver takes some time to answer, so there is always a request in flight that a kill can interrupt.
_MAX_ANSWER_SECONDS = 0.5
_MAX_SETTLE_SECONDS = 60.0
# These waits are short enough for a run of minutes. A lease is still longer than a request.
_SHORT_WAITS = {
    "CALLBACK_TIMEOUT_SECONDS": f"{TIMEOUT_SECONDS:.0f}",
    "DELIVERY_LEASE_SECONDS": "5",
    "DELIVERY_RETRY_DELAYS": ",".join(["1"] * 19),
}


@dataclass(slots=True)
class ChaosReport:
    """The verdict, the faults, and how late first attempts were, in seconds."""

    seed: int
    verdict: ChaosVerdict
    faults: dict[str, int]
    lag: dict[str, float]
    ended_by_themselves: list[str]
    seconds: float
    log: str = ""

    @property
    def is_good(self) -> bool:
        return self.verdict.is_good and not self.ended_by_themselves

    def as_json(self) -> dict[str, Any]:
        return {
            "seed": self.seed,
            "verdict": self.verdict.as_json(),
            "faults": self.faults,
            "lag": self.lag,
            "ended_by_themselves": self.ended_by_themselves,
            "seconds": self.seconds,
            "good": self.is_good,
        }


def run_chaos(plan: ChaosPlan, report: Callable[[dict[str, Any]], None] = lambda _: None) -> ChaosReport:
    """Runs the plan on its own servers. Calls `report` with each fault as it happens."""
    began = time.monotonic()
    with (
        chaos_platform(**_SHORT_WAITS) as platform,
        running_receiver(platform.servers.directory / "receiver.log", answers_after=_MAX_ANSWER_SECONDS) as receiver,
    ):
        platform.prepare(receiver.url)
        for name in plan.workers:
            platform.start(name)
        loads = make_load(platform, rate=plan.rate, span=timedelta(seconds=plan.seconds + sum(CLOCK_STEPS)))
        begin = loads[0].first.timestamp()
        faults = Faults(plan, platform, report)
        # The last faults come before the end of the load.
        faults.run(begin=begin, end=begin + plan.seconds - 3.0)
        report({"event": "faults over", "seconds": round(time.monotonic() - began, 1)})
        _settle(platform, loads)
        return ChaosReport(
            seed=plan.seed,
            verdict=judge(loads, ledger(platform), receiver.arrivals(), faults.disturbances),
            faults=faults.counts,
            lag=_lag(receiver, faults.clock_steps),
            ended_by_themselves=faults.ended,
            seconds=round(time.monotonic() - began, 1),
            log=platform.log.read_text(errors="replace"),
        )


def _settle(platform: ChaosPlatform, loads: Sequence[Load]) -> None:
    """Waits until the load has ended and everything is sent, or until that takes too long."""
    give_up_at = time.monotonic() + _MAX_SETTLE_SECONDS + (loads[0].end - platform.now()).total_seconds()
    while time.monotonic() < give_up_at:
        time.sleep(0.3)
        ((active, pending),) = platform.query(
            "SELECT (SELECT count(*) FROM scheduling_scheduledexecution WHERE is_active),"
            " (SELECT count(*) FROM deliveries_delivery WHERE state = 'pending')"
        )
        if not active and not pending:
            # The receiver writes its log a few times a second.
            time.sleep(0.5)
            return


def _lag(receiver: RunningReceiver, clock_steps: Sequence[tuple[float, float]]) -> dict[str, float]:
    """Returns percentiles of how late the first request of each slot arrived, by the platform's clock at that time."""
    first: dict[UUID, float] = {}
    for arrival in receiver.arrivals():
        moved = sum(seconds for at, seconds in clock_steps if at <= arrival.at)
        first.setdefault(arrival.webhook_id, arrival.at + moved - arrival.due_at.timestamp())
    return _percentiles(list(first.values()))


def _percentiles(values: Sequence[float]) -> dict[str, float]:
    """Returns p50, p90, p99 and the maximum, rounded to three decimals."""
    ranked = sorted(values)
    if not ranked:
        return {}
    parts = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
    return {name: round(ranked[min(len(ranked) - 1, int(len(ranked) * part))], 3) for name, part in parts.items()}
