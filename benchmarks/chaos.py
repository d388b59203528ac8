"""What survives: a steady load while processes and servers are killed, frozen and restarted, and the clock is stepped.

`python -m benchmarks chaos` prints one JSON line for each fault, and a verdict on every slot: those there had to be,
computed here, against the ledger and against the receiver's log. It fails where a slot was lost or fired twice.
`--scenario outage` instead measures how a long queue is drained while a load goes on.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import json
import math
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from benchmarks.support.chaos_judge import Disturbance, Load, Verdict, judge
from benchmarks.support.chaos_load import ledger, make_load
from benchmarks.support.chaos_outage import OutagePlan
from benchmarks.support.chaos_outage import run as run_outage
from benchmarks.support.chaos_platform import ChaosPlatform, chaos_platform
from benchmarks.support.chaos_receiver import RunningReceiver, running_receiver
from benchmarks.support.platform import BenchmarkError
from benchmarks.support.results import emit, progress, table

# With some time to answer there is always something in flight for a kill to hit.
_ANSWERS_AFTER = 0.5
# As the platform is configured for these runs, in seconds.
_TIMEOUT = 2.0
_LEASE = 5.0
# How long an outcome may wait for its batch, and a busy machine for its turn.
_MARGIN = 1.0
_SETTLES_WITHIN = 60.0
# The clock is stepped back by 3 s once, and forward by 10.
_CLOCK_GAIN = 7
_WAITS = {
    # Waits that a run of minutes can live with; a lease still outlasts a request.
    "CALLBACK_TIMEOUT_SECONDS": f"{_TIMEOUT:.0f}",
    "DELIVERY_LEASE_SECONDS": f"{_LEASE:.0f}",
    "DELIVERY_RETRY_DELAYS": ",".join(["1"] * 19),
}


@dataclass(frozen=True, slots=True)
class ChaosPlan:
    """How large a run is: `rate` slots a second for `seconds`, and a fault about every `pause` seconds (0: none)."""

    rate: int = 200
    seconds: int = 180
    dispatchers: int = 3
    deliverers: int = 3
    beats: int = 2
    pause: float = 4.0
    freeze: float = 30.0
    seed: int = 0

    @property
    def workers(self) -> list[str]:
        counts = {"dispatcher": self.dispatchers, "deliverer": self.deliverers, "beat": self.beats}
        return [f"{kind}.{number}" for kind, count in counts.items() for number in range(1, count + 1)]


SHORT = ChaosPlan(rate=50, seconds=26, dispatchers=2, deliverers=2, beats=2, pause=2.3, freeze=7.0)


@dataclass(slots=True)
class Report:
    """What a run came to: the verdict, what was done to the platform, and how late first attempts were, in seconds."""

    seed: int
    verdict: Verdict
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


@dataclass(slots=True)
class Chaos:
    """Does the faults of a plan at their times, and remembers which attempts each of them may have disturbed."""

    plan: ChaosPlan
    platform: ChaosPlatform
    say: Callable[[dict[str, Any]], None]
    disturbances: list[Disturbance] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    steps: list[tuple[float, float]] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    _random: random.Random = field(default_factory=random.Random)
    _agenda: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def run(self, *, begin: float, end: float) -> None:
        """From `begin` to `end`, in seconds of this machine's clock. Everything runs again when it returns."""
        self._random.seed(self.plan.seed)
        self._plan(begin, end)
        while self._agenda:
            at, _, act = heapq.heappop(self._agenda)
            time.sleep(max(0.0, at - time.time()))
            act()
            self.ended.extend(name for name in self.platform.ended() if name not in self.ended)

    def _plan(self, begin: float, end: float) -> None:
        """Round after round of all faults, each round in another order, until the time is over."""
        round_of_faults = [
            *(self._kill_deliverer, self._kill_deliverer, self._kill_dispatcher, self._kill_beat),
            *(self._flush_broker, self._restart_broker, self._restart_database, self._freeze),
        ]
        faults = [self._step_back, self._step_forward]
        at = begin + 1.0
        while at < end and self.plan.pause:
            faults += round_of_faults
            self._random.shuffle(faults)
            for fault in faults:
                # Slots are due at whole seconds: in the half after them most is under way.
                hit = math.floor(at) + self._random.uniform(0.0, 0.5)
                if hit < end:
                    self._at(hit, fault)
                at += self.plan.pause * self._random.uniform(0.6, 1.4)
            faults = []

    def _at(self, at: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (at, next(self._numbers), act))

    def _kill_deliverer(self) -> None:
        self._kill("deliverer")

    def _kill_dispatcher(self) -> None:
        self._kill("dispatcher")

    def _kill_beat(self) -> None:
        self._kill("beat")

    def _kill(self, kind: str) -> None:
        running = self.platform.running(kind)
        if not running:
            return
        name = self._random.choice(running)
        at = time.time()
        self.platform.kill(name)
        if kind == "deliverer":
            self._disturb(f"kill {kind}", at - _TIMEOUT, at + _MARGIN)
        self._tell(f"kill {kind}", name)
        self._at(at + self._random.uniform(0.2, 3.0), lambda: self.platform.start(name))

    def _flush_broker(self) -> None:
        self.platform.flush_broker()
        self._tell("flush broker")

    def _restart_broker(self) -> None:
        valkey = self.platform.servers.valkey
        assert valkey is not None
        valkey.kill()
        time.sleep(self._random.uniform(0.0, 2.0))
        valkey.start()
        self._tell("restart broker")

    def _restart_database(self) -> None:
        """As an operator does it, or as a crash does."""
        postgres = self.platform.servers.postgres
        assert postgres is not None
        at = time.time()
        crash = self._random.random() < 0.5
        if crash:
            postgres.kill()
        else:
            postgres.stop()
        postgres.start()
        took = time.time() - at
        # What was sent before could be written down only afterwards, or not any more within its lease.
        self._disturb("restart database", at - _TIMEOUT - _MARGIN, at + took + _MARGIN)
        self._tell("restart database", crash=crash, took=round(took, 2))

    def _freeze(self) -> None:
        # Most often a deliverer, which holds leases.
        kinds = ("deliverer",) if self._random.random() < 0.6 else ("dispatcher", "deliverer", "beat")
        running = self.platform.running(*kinds)
        if not running:
            return
        name = self._random.choice(running)
        at = time.time()
        self.platform.freeze(name)
        self._tell("freeze", name, seconds=self.plan.freeze)
        self._at(at + self.plan.freeze, lambda: self._thaw(name, at))

    def _thaw(self, name: str, frozen_at: float) -> None:
        if name not in self.platform.frozen:
            return
        self.platform.thaw(name)
        self.say({"event": "thaw", "name": name})
        if name.startswith("deliverer"):
            # What it was about to send then leaves now, whoever has sent it in the meantime.
            thawed_at = time.time()
            self._disturb("freeze", frozen_at - _TIMEOUT, frozen_at + _MARGIN, thawed_at, thawed_at + _MARGIN)

    def _step_back(self) -> None:
        self._step(-3.0)

    def _step_forward(self) -> None:
        self._step(10.0)

    def _step(self, seconds: float) -> None:
        self.platform.step_clock(timedelta(seconds=seconds))
        at = time.time()
        self.steps.append((at, seconds))
        if seconds > 0:
            # Leases end early.
            self._disturb("clock forward", at - _TIMEOUT - _MARGIN, at + _MARGIN)
        self._tell("clock back" if seconds < 0 else "clock forward", seconds=seconds)

    def _disturb(self, what: str, *spans: float) -> None:
        self.disturbances.append(Disturbance(what, *spans))

    def _tell(self, fault: str, name: str = "", **facts: Any) -> None:
        self.counts[fault] = self.counts.get(fault, 0) + 1
        self.say({"event": "fault", "fault": fault, "name": name, "at": round(time.time(), 3), **facts})


def run(plan: ChaosPlan, say: Callable[[dict[str, Any]], None] = lambda _: None) -> Report:
    """One run on servers of its own."""
    began = time.monotonic()
    with (
        chaos_platform(**_WAITS) as platform,
        running_receiver(platform.servers.directory / "receiver.log", answers_after=_ANSWERS_AFTER) as receiver,
    ):
        platform.prepare(receiver.url)
        for name in plan.workers:
            platform.start(name)
        loads = make_load(platform, rate=plan.rate, span=timedelta(seconds=plan.seconds + _CLOCK_GAIN))
        begin = loads[0].first.timestamp()
        chaos = Chaos(plan, platform, say)
        # The last faults are over before the load is.
        chaos.run(begin=begin, end=begin + plan.seconds - 3.0)
        say({"event": "faults over", "seconds": round(time.monotonic() - began, 1)})
        _settle(platform, loads)
        verdict = judge(loads, ledger(platform), receiver.arrivals(), chaos.disturbances)
        report = Report(
            seed=plan.seed,
            verdict=verdict,
            faults=chaos.counts,
            lag=_lag(receiver, chaos.steps),
            ended_by_themselves=chaos.ended,
            seconds=round(time.monotonic() - began, 1),
        )
        report.log = platform.log.read_text(errors="replace")
        return report


def _settle(platform: ChaosPlatform, loads: Sequence[Load]) -> None:
    """Waits until the load has ended and nothing is to be sent any more, or for as long as that may take."""
    give_up_at = time.monotonic() + _SETTLES_WITHIN + (loads[0].end - platform.now()).total_seconds()
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


def _lag(receiver: RunningReceiver, steps: Sequence[tuple[float, float]]) -> dict[str, float]:
    """Of the first arrival of each slot, by the platform's clock at that moment."""
    first: dict[UUID, float] = {}
    for arrival in receiver.arrivals():
        moved = sum(seconds for at, seconds in steps if at <= arrival.at)
        first.setdefault(arrival.webhook_id, arrival.at + moved - arrival.due_at.timestamp())
    return percentiles(list(first.values()))


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """p50, p90, p99 and the greatest of spans in seconds, to the millisecond."""
    ranked = sorted(values)
    if not ranked:
        return {}
    of = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
    return {name: round(ranked[min(len(ranked) - 1, int(len(ranked) * part))], 3) for name, part in of.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    """The command; BenchmarkError where a slot was lost or fired twice."""
    options = _parser().parse_args(arguments)
    if options.scenario == "outage":
        _run_outage(quick=options.quick)
        return
    base = SHORT if options.quick else ChaosPlan()
    given = {
        name: value for name in ("seconds", "rate", "pause", "freeze") if (value := getattr(options, name)) is not None
    }
    plan = replace(base, seed=options.seed, **given)
    progress(f"chaos with --seed {plan.seed}: {plan.rate} slots a second for {plan.seconds} s")
    report = run(plan, _say)
    emit("chaos", **report.as_json())
    table("Chaos", _lines(report))
    if options.log:
        options.log.write_text(report.log)
    if not report.is_good:
        print(report.log[-20_000:], file=sys.stderr)
        raise BenchmarkError(f"A slot was lost or fired twice, or a worker ended by itself (--seed {plan.seed}).")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks chaos", description=__doc__)
    parser.add_argument("--scenario", choices=("chaos", "outage"), default="chaos")
    parser.add_argument("--quick", action="store_true", help="A small one, as the test suite runs it.")
    parser.add_argument("--seconds", type=int, help="How long the load lasts.")
    parser.add_argument("--rate", type=int, help="Slots a second.")
    parser.add_argument("--pause", type=float, help="Seconds between two faults, about; 0: no faults.")
    parser.add_argument("--freeze", type=float, help="Seconds for which a process is frozen.")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10_000), help="Of the faults.")
    parser.add_argument("--log", type=Path, help="Where the log of the platform's processes is kept.")
    return parser


def _run_outage(*, quick: bool) -> None:
    results = []
    for shared in (True, False):
        plan = OutagePlan(shared=shared, backlog=2000, after_seconds=8) if quick else OutagePlan(shared=shared)
        progress(f"an hour's {plan.backlog:,} deliveries are drained")
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
    table("A queue after an outage", [(name, *(str(result[name]) for result in results)) for name in names])
    if any(result["lost"] or result["twice"] for result in results):
        raise BenchmarkError("A delivery was lost or made twice.")


def _say(fact: dict[str, Any]) -> None:
    print(json.dumps(fact), flush=True)


def _lines(report: Report) -> list[tuple[str, object]]:
    verdict = report.verdict
    return [
        ("slots", verdict.slots),
        ("delivered", verdict.delivered),
        ("recorded as missed", verdict.missed),
        ("lost", verdict.lost),
        ("fired twice", verdict.twice),
        ("not where a slot was", verdict.invented),
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


if __name__ == "__main__":
    try:
        main()
    except BenchmarkError as error:
        sys.exit(str(error))
