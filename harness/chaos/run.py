"""One chaos run: a steady load, the faults of a plan, and a verdict on every slot."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from harness.chaos.agenda import Agenda
from harness.chaos.disk import SMALL_DISK_OPTIONS
from harness.chaos.everyday import CLOCK_STEPS
from harness.chaos.faults import bury_poisoned, plan_faults
from harness.chaos.judge import ChaosVerdict, Load, judge
from harness.chaos.load import ledger, make_load, make_poison
from harness.chaos.plan import ChaosPlan
from harness.chaos.platform import SHORT_WAITS, chaos_platform
from harness.chaos.poison import poison_receiver
from harness.chaos.receiver import RunningReceiver, running_receiver

# The receiver takes some time to answer, so there is always a request in flight that a kill can interrupt.
_MAX_ANSWER_SECONDS = 0.5
_MAX_SETTLE_SECONDS = 60.0


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
    """Runs the plan on its own servers. Calls `report` with each fault as it happens.

    Raises NotPossibleHereError if the plan needs something that this machine or account does not allow.
    """
    began = time.monotonic()
    with ExitStack() as stack:
        platform = stack.enter_context(
            chaos_platform(hosts_apart=plan.hosts_apart, disk_megabytes=plan.disk_megabytes, **SHORT_WAITS)
        )
        log = platform.servers.directory / "receiver.log"
        receiver = stack.enter_context(running_receiver(log, answers_after=_MAX_ANSWER_SECONDS))
        poison = stack.enter_context(poison_receiver(partial(platform.pids, "deliverer")))
        platform.prepare(receiver.url)
        if plan.disk_megabytes:
            platform.set_database_options(SMALL_DISK_OPTIONS)
        for name in plan.workers:
            platform.start(name)
        steps = sum(CLOCK_STEPS) if plan.once else 0
        loads = make_load(platform, rate=plan.rate, span=timedelta(seconds=plan.seconds + steps))
        begin = loads[0].first
        if plan.poisons:
            span = timedelta(seconds=plan.seconds // 2)
            loads += make_poison(platform, count=plan.poisons, begin=begin, span=span, url=poison.url)
        agenda = Agenda(plan, platform, report)
        agenda.tend = bury_poisoned(agenda, poison)
        agenda.random.seed(plan.seed)
        plan_faults(agenda, begin=begin.timestamp(), end=begin.timestamp() + plan.seconds - plan.calm)
        agenda.work()
        report({"event": "faults over", "seconds": round(time.monotonic() - began, 1)})
        _settle(agenda, loads)
        return ChaosReport(
            seed=plan.seed,
            verdict=judge(loads, ledger(platform), receiver.arrivals(), agenda.disturbances),
            faults=agenda.counts,
            lag=_lag(receiver, agenda.clock_steps),
            ended_by_themselves=agenda.ended,
            seconds=round(time.monotonic() - began, 1),
            log=platform.log.read_text(errors="replace"),
        )


def _settle(agenda: Agenda, loads: Sequence[Load]) -> None:
    """Waits until the load has ended and everything is sent, or until that takes too long."""
    platform = agenda.platform
    give_up_at = time.monotonic() + _MAX_SETTLE_SECONDS + (loads[0].end - platform.now()).total_seconds()
    while time.monotonic() < give_up_at:
        agenda.work(until=time.time() + 0.3)
        if not platform.count_unfinished():
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
