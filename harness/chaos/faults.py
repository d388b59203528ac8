"""Kills, freezes and restarts parts of a running platform, and steps its clock, at planned times."""

from __future__ import annotations

import heapq
import itertools
import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from harness.chaos.judge import Disturbance
from harness.chaos.platform import ChaosPlatform

# The platform's timeout of a request in these runs, in seconds.
TIMEOUT_SECONDS = 2.0
# The clock is stepped back once and forward once. The load must last longer by the sum of these seconds.
CLOCK_STEPS = (-3, 10)

# The time for which an outcome may wait for its batch, and a process on a busy machine for the CPU.
_MARGIN_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class ChaosPlan:
    """The size of a run: `rate` slots a second for `seconds` seconds, and a fault about every `pause` seconds.

    With a `pause` of 0 there are no faults. Frozen processes are frozen for `freeze` seconds.
    """

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


@dataclass(slots=True)
class Faults:
    """Commits the faults of a plan at their times, and remembers which attempts each of them may have disturbed."""

    plan: ChaosPlan
    platform: ChaosPlatform
    report: Callable[[dict[str, Any]], None]
    disturbances: list[Disturbance] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    clock_steps: list[tuple[float, float]] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    _random: random.Random = field(default_factory=random.Random)
    _agenda: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def run(self, *, begin: float, end: float) -> None:
        """Works from `begin` to `end`, in seconds of this machine's clock. When it returns, everything runs again."""
        self._random.seed(self.plan.seed)
        self._fill_agenda(begin, end)
        while self._agenda:
            at, _, act = heapq.heappop(self._agenda)
            time.sleep(max(0.0, at - time.time()))
            act()
            self.ended.extend(name for name in self.platform.ended() if name not in self.ended)

    def _fill_agenda(self, begin: float, end: float) -> None:
        """Plans rounds of all faults until the end, each round in another order."""
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
                # Slots are due at whole seconds, so most work is in flight during the half second after them.
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
            self._disturb(f"kill {kind}", at - TIMEOUT_SECONDS, at + _MARGIN_SECONDS)
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
        """Restarts PostgreSQL, either cleanly or after a simulated crash."""
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
        # Outcomes of earlier attempts may have been recorded late, or not within their lease.
        self._disturb("restart database", at - TIMEOUT_SECONDS - _MARGIN_SECONDS, at + took + _MARGIN_SECONDS)
        self._tell("restart database", crash=crash, took=round(took, 2))

    def _freeze(self) -> None:
        # This is mostly a deliverer, because deliverers hold leases.
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
        self.report({"event": "thaw", "name": name})
        if name.startswith("deliverer"):
            # It now sends the requests that it was about to send, even if another deliverer has sent them meanwhile.
            thawed_at = time.time()
            spans = (frozen_at - TIMEOUT_SECONDS, frozen_at + _MARGIN_SECONDS, thawed_at, thawed_at + _MARGIN_SECONDS)
            self._disturb("freeze", *spans)

    def _step_back(self) -> None:
        self._step(min(CLOCK_STEPS))

    def _step_forward(self) -> None:
        self._step(max(CLOCK_STEPS))

    def _step(self, seconds: float) -> None:
        self.platform.step_clock(timedelta(seconds=seconds))
        at = time.time()
        self.clock_steps.append((at, seconds))
        if seconds > 0:
            # Leases end early.
            self._disturb("clock forward", at - TIMEOUT_SECONDS - _MARGIN_SECONDS, at + _MARGIN_SECONDS)
        self._tell("clock back" if seconds < 0 else "clock forward", seconds=seconds)

    def _disturb(self, what: str, *spans: float) -> None:
        self.disturbances.append(Disturbance(what, *spans))

    def _tell(self, fault: str, name: str = "", **facts: Any) -> None:
        self.counts[fault] = self.counts.get(fault, 0) + 1
        self.report({"event": "fault", "fault": fault, "name": name, "at": round(time.time(), 3), **facts})
