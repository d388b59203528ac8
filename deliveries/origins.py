"""How much of the sender one receiver may have: a limit on its requests in flight, and a breaker.

Receivers are told apart by origin: scheme, host and port. An origin's limit starts small, grows by one with each answer
and is halved when none comes, so that a hanging receiver holds a few places and not the window. After several attempts
in a row without an answer the breaker opens: nothing is sent to the origin until its pause is over, then one request at
a time, until one is answered. An answer of any status closes it: a receiver that answers holds nobody up.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class OriginSettings:
    """`most` and `first` requests in flight, `failures` in a row that open the breaker; spans are in seconds."""

    most: int = 50
    first: int = 10
    failures: int = 10
    first_pause: float = 5.0
    longest_pause: float = 60.0
    remembered: float = 600.0


@dataclass(slots=True)
class _Origin:
    limit: int
    in_flight: int = 0
    failures: int = 0
    pause: float = 0.0
    open_until: float = 0.0
    used_at: float = 0.0
    next_expiry_at: float = 0.0


@dataclass(slots=True)
class Origins:
    """The state of every origin that this sender has lately met."""

    settings: OriginSettings
    clock: Callable[[], float] = time.monotonic
    _origins: dict[str, _Origin] = field(default_factory=dict)
    # In the order in which they became busy.
    _busy: dict[str, None] = field(default_factory=dict)

    def room(self, origin: str) -> int:
        """Returns how many more requests may begin now."""
        state = self._get(origin)
        if state.pause:
            # Half open: one request at a time finds out.
            return 1 if self.clock() >= state.open_until and not state.in_flight else 0
        return max(0, state.limit - state.in_flight)

    def is_in_doubt(self, origin: str) -> bool:
        """Returns whether its latest request was not answered."""
        return self._get(origin).failures > 0

    def begin(self, origin: str) -> None:
        """Counts a request that has begun."""
        state = self._get(origin)
        state.in_flight += 1
        state.used_at = self.clock()

    def abandon(self, origin: str) -> None:
        """Counts a request as over that we or our proxy ended: that tells nothing about the receiver."""
        self._get(origin).in_flight -= 1

    def end(self, origin: str, *, is_answered: bool) -> bool:
        """Counts a request that is over. Returns whether it has just opened the breaker."""
        state = self._get(origin)
        state.in_flight -= 1
        if is_answered:
            state.failures, state.pause = 0, 0.0
            state.limit = min(state.limit + 1, self.settings.most)
            return False
        if state.pause and self.clock() < state.open_until:
            # It was in flight when the breaker opened: it is no probe, and tells nothing new.
            return False
        state.failures += 1
        state.limit = max(1, state.limit // 2)
        is_probe = state.pause > 0
        if not is_probe and state.failures < self.settings.failures:
            return False
        state.pause = min(max(state.pause * 2, self.settings.first_pause), self.settings.longest_pause)
        state.open_until = self.clock() + state.pause
        self.mark_busy(origin)
        return not is_probe

    def mark_busy(self, origin: str) -> None:
        """Notes that more is due for it than it has room for: it is claimed for by itself from now on."""
        self._busy[origin] = None

    def unmark_busy(self, origin: str) -> None:
        """Notes that everything due for it has been claimed."""
        self._busy.pop(origin, None)

    def busy(self) -> list[str]:
        """Returns the origins that are claimed for by themselves."""
        return list(self._busy)

    def paused(self) -> dict[str, float]:
        """Returns the origins whose breaker is open, with the seconds until the next try."""
        now = self.clock()
        return {
            name: state.open_until - now
            for name, state in self._origins.items()
            if state.pause and state.open_until > now
        }

    def may_expire(self, origin: str, *, now: float) -> bool:
        """Returns whether it is time to look for deliveries that have waited for it for too long."""
        return now >= self._get(origin).next_expiry_at

    def expire_not_before(self, origin: str, at: float) -> None:
        """Sets the time of the next such look."""
        self._get(origin).next_expiry_at = at

    def forget_quiet(self) -> None:
        """Forgets those that have not been used for a while. To be called now and then."""
        since = self.clock() - self.settings.remembered
        self._origins = {
            name: state for name, state in self._origins.items() if state.in_flight or state.used_at > since
        }
        self._busy = {name: None for name in self._busy if name in self._origins}

    def _get(self, origin: str) -> _Origin:
        state = self._origins.get(origin)
        if state is None:
            state = self._origins[origin] = _Origin(limit=self.settings.first)
        return state
