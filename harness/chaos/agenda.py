"""The agenda of a chaos run: what is done at which time, and what is remembered about it for the verdict."""

from __future__ import annotations

import heapq
import itertools
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from harness.chaos.judge import Disturbance
from harness.chaos.plan import ChaosPlan
from harness.chaos.platform import ChaosPlatform

_LOOK_EVERY_SECONDS = 0.1


@dataclass(slots=True)
class Agenda:
    """Does everything at its time, in one thread. Remembers which attempts each fault may have disturbed."""

    plan: ChaosPlan
    platform: ChaosPlatform
    report: Callable[[dict[str, Any]], None]
    tend: Callable[[], None] = lambda: None
    """Is called several times a second."""
    disturbances: list[Disturbance] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    clock_steps: list[tuple[float, float]] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    random: random.Random = field(default_factory=random.Random)
    _entries: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def at(self, at: float, act: Callable[[], None]) -> None:
        """Plans an act, for a time in seconds of this machine's clock."""
        heapq.heappush(self._entries, (at, next(self._numbers), act))

    def after(self, seconds: float, act: Callable[[], None]) -> None:
        self.at(time.time() + seconds, act)

    def work(self, *, until: float = 0.0) -> None:
        """Does everything that is planned, also what it leads to. Goes on at least until `until`."""
        while self._entries or time.time() < until:
            due_at = self._entries[0][0] if self._entries else until
            time.sleep(min(_LOOK_EVERY_SECONDS, max(0.0, due_at - time.time())))
            dead = self.platform.ended()
            self.tend()
            # Those that `tend` has not taken away have ended for no reason.
            self.ended.extend(name for name in self.platform.ended() if name in dead and name not in self.ended)
            if self._entries and self._entries[0][0] <= time.time():
                heapq.heappop(self._entries)[2]()

    def disturb(self, what: str, *spans: float) -> None:
        """Notes attempts that may be repeated. The spans are those of a Disturbance."""
        self.disturbances.append(Disturbance(what, *spans))

    def tell(self, fault: str, name: str = "", **facts: Any) -> None:
        """Counts and reports a fault."""
        self.counts[fault] = self.counts.get(fault, 0) + 1
        self.report({"event": "fault", "fault": fault, "name": name, "at": round(time.time(), 3), **facts})
