"""Limits how much of the sender one receiver may use, by a limit on requests in flight, a breaker, and `Retry-After`.

Receivers are told apart by origin: scheme, host and port. An origin's limit starts small, grows by one with each answer
and is halved when a request gets none, so a hanging receiver takes a few places and not the whole window. After several
attempts in a row without an answer the breaker opens: nothing is sent to the origin until its pause is over, and then
one request at a time until one is answered. An answer of any status closes the breaker, because a receiver that answers
delays nobody. A 429 halves the limit, and nothing is sent to the origin for as long as its `Retry-After` says.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class OriginSettings:
    """The limits of an origin. Spans are in seconds.

    `most` is the largest limit on requests in flight and `first` is the limit of a new origin. `failures` in a row open
    the breaker. State is kept for `remembered` seconds after its last use, for at most `max_remembered` origins.
    """

    most: int = 50
    first: int = 10
    failures: int = 10
    first_pause: float = 5.0
    longest_pause: float = 60.0
    remembered: float = 600.0
    max_remembered: int = 10_000


@dataclass(slots=True)
class _Origin:
    limit: int
    in_flight: int = 0
    failures: int = 0
    pause: float = 0.0
    open_until: float = 0.0
    held_until: float = 0.0
    used_at: float = 0.0
    next_expiry_at: float = 0.0


@dataclass(slots=True)
class Origins:
    """The state of the origins that this sender has used most recently."""

    settings: OriginSettings
    clock: Callable[[], float] = time.monotonic
    # The most recently used one comes last.
    _origins: dict[str, _Origin] = field(default_factory=dict)
    # In the order in which they became busy.
    _busy: dict[str, None] = field(default_factory=dict)
    # Those that are paused or held, and some that were until recently.
    _resting: dict[str, None] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._origins)

    def room(self, origin: str) -> int:
        """Returns how many more requests may begin now."""
        state = self._origins.get(origin)
        if state is None:
            return self.settings.first
        if state.pause or state.held_until:
            now = self.clock()
            if now < state.held_until:
                return 0
            if state.pause:
                # Half open: one request at a time tests whether it answers again.
                return 1 if now >= state.open_until and not state.in_flight else 0
        return max(0, state.limit - state.in_flight)

    def is_in_doubt(self, origin: str) -> bool:
        """Returns whether its latest request was not answered, or it asked us to wait."""
        state = self._origins.get(origin)
        return state is not None and (state.failures > 0 or self.clock() < state.held_until)

    def begin(self, origin: str) -> None:
        """Counts a request that has begun."""
        state = self._remember(origin)
        state.in_flight += 1
        state.used_at = self.clock()

    def abandon(self, origin: str) -> None:
        """Counts a request as over that we or our proxy ended. It says nothing about the receiver."""
        self._origins[origin].in_flight -= 1

    def end(self, origin: str, *, is_answered: bool) -> bool:
        """Counts a request that is over. Returns whether it has just opened the breaker."""
        state = self._origins[origin]
        state.in_flight -= 1
        if is_answered:
            state.failures, state.pause = 0, 0.0
            state.limit = min(state.limit + 1, self.settings.most)
            return False
        if state.pause and self.clock() < state.open_until:
            # It was in flight when the breaker opened, so it is not a probe and tells nothing new.
            return False
        state.failures += 1
        state.limit = max(1, state.limit // 2)
        is_probe = state.pause > 0
        if not is_probe and state.failures < self.settings.failures:
            return False
        state.pause = min(max(state.pause * 2, self.settings.first_pause), self.settings.longest_pause)
        state.open_until = self.clock() + state.pause
        self._rest(origin)
        return not is_probe

    def slow_down(self, origin: str, *, hold: float) -> None:
        """Halves its limit after a 429, and lets no request begin for `hold` seconds."""
        state = self._remember(origin)
        state.limit = max(1, state.limit // 2)
        if hold > 0:
            state.held_until = max(state.held_until, self.clock() + hold)
            self._rest(origin)

    def mark_busy(self, origin: str) -> None:
        """Notes that more is due for it than it has room for. From now on it has claims of its own."""
        self._remember(origin)
        self._busy[origin] = None

    def unmark_busy(self, origin: str) -> None:
        """Notes that everything due for it has been claimed."""
        self._busy.pop(origin, None)

    def busy(self) -> list[str]:
        """Returns the origins that have more due than they have room for."""
        return list(self._busy)

    def paused(self) -> dict[str, float]:
        """Returns the origins that nothing may be sent to now, with the seconds until the next try."""
        if not self._resting:
            return {}
        now = self.clock()
        paused = {}
        for name in list(self._resting):
            state = self._origins[name]
            left = max(state.open_until if state.pause else 0.0, state.held_until) - now
            if left > 0:
                paused[name] = left
            elif not state.pause:
                del self._resting[name]
        return paused

    def may_expire(self, origin: str, *, now: float) -> bool:
        """Returns whether it is time to look for deliveries that have waited for it for too long."""
        return now >= self._remember(origin).next_expiry_at

    def expire_not_before(self, origin: str, at: float) -> None:
        """Sets the time of the next such look."""
        self._remember(origin).next_expiry_at = at

    def _rest(self, origin: str) -> None:
        self._resting[origin] = None
        self.mark_busy(origin)

    def _remember(self, origin: str) -> _Origin:
        """Returns its state and marks it as used now. An unknown origin, or one not used for long, gets a new state."""
        state = self._origins.pop(origin, None)
        now = self.clock()
        if state is None or (not state.in_flight and now - state.used_at > self.settings.remembered):
            self._resting.pop(origin, None)
            state = _Origin(limit=self.settings.first, used_at=now)
        self._origins[origin] = state
        if len(self._origins) > self.settings.max_remembered:
            self._forget_oldest(but=origin)
        return state

    def _forget_oldest(self, *, but: str) -> None:
        """Forgets the least recently used origin that has nothing in flight."""
        for name, state in self._origins.items():
            if not state.in_flight and name != but:
                del self._origins[name]
                self._busy.pop(name, None)
                self._resting.pop(name, None)
                return
