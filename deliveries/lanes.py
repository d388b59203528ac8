"""Shares the sender between organizations and their receivers.

A lane is what one organization sends to one origin (scheme, host and port). Each lane has a limit on requests in
flight, a breaker, and a hold after a 429:

- The limit starts small, grows by one with each answer and is halved when a request gets none, so a hanging receiver
  takes a few places and not the whole window.
- After several attempts in a row without an answer the breaker opens: nothing is sent in the lane until its pause is
  over, and then one request at a time until one is answered. An answer of any status closes the breaker, because a
  receiver that answers delays nobody.
- A 429 halves the limit, and nothing is sent in the lane for as long as its `Retry-After` says.

Two organizations may have receivers at one origin. They share only the limit of requests in flight to that origin.

The window of the sender is shared too. Half of it is kept for lanes that have answered lately. Of the other half, each
organization leaves as much free as it uses, and so does each lane of an organization's part. So a new lane finds a
place at once, however many receivers hang. While several organizations have something to send, none gets more than an equal share of the window.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

_Key = TypeVar("_Key")


class Lane(NamedTuple):
    """What one organization sends to one origin."""

    organization_id: int
    origin: str


@dataclass(frozen=True, slots=True)
class LaneSettings:
    """The limits of a lane. Spans are in seconds.

    `most` is the largest limit on requests in flight, for a lane and for an origin. `first` is the limit of a new lane.
    `failures` in a row open the breaker. A lane is proven for `proven` seconds after an answer. An organization shares
    the window until `active` seconds after it last had something to send. State is kept for `remembered` seconds after
    its last use, for at most `max_remembered` lanes.
    """

    most: int = 50
    first: int = 10
    failures: int = 10
    first_pause: float = 5.0
    longest_pause: float = 60.0
    proven: float = 600.0
    active: float = 5.0
    remembered: float = 600.0
    max_remembered: int = 10_000


@dataclass(slots=True)
class _Lane:
    limit: int
    in_flight: int = 0
    unproven_in_flight: int = 0
    failures: int = 0
    pause: float = 0.0
    open_until: float = 0.0
    held_until: float = 0.0
    used_at: float = 0.0
    answered_at: float | None = None
    next_expiry_at: float = 0.0


@dataclass(slots=True)
class Lanes:
    """The state of the lanes that this sender has used most recently."""

    settings: LaneSettings
    window: int = 100
    clock: Callable[[], float] = time.monotonic
    # The most recently used one comes last.
    _lanes: dict[Lane, _Lane] = field(default_factory=dict)
    # In the order in which they became busy.
    _busy: dict[Lane, None] = field(default_factory=dict)
    # Those that are paused or held, and some that were until recently.
    _resting: dict[Lane, None] = field(default_factory=dict)
    # Requests in flight by origin, by organization, and by organization in lanes that are not proven.
    _of_origin: Counter[str] = field(default_factory=Counter)
    _of_organization: Counter[int] = field(default_factory=Counter)
    _unproven: Counter[int] = field(default_factory=Counter)
    _unproven_total: int = 0
    # When each organization last had something to send. Those that have been idle for some time share nothing.
    _active_at: dict[int, float] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._lanes)

    def note_active(self, organizations: Iterable[int]) -> None:
        """Notes which organizations have something to send now."""
        now = self.clock()
        for organization in organizations:
            self._active_at[organization] = now
        for organization, at in list(self._active_at.items()):
            if now - at > self.settings.active and not self._of_organization[organization]:
                del self._active_at[organization]

    def grant(self, lanes: Iterable[Lane], *, limit: int) -> dict[Lane, int]:
        """Returns how many requests may begin in each of these lanes if all of them begin, up to `limit` in all.

        Lanes without room are left out. Earlier lanes take precedence.
        """
        granted: dict[Lane, int] = {}
        for lane in lanes:
            if limit <= 0:
                break
            room = min(self.room(lane), limit)
            if room:
                granted[lane] = room
                limit -= room
                self._count(lane, room, is_proven=self._is_proven(self._lanes.get(lane)))
        for lane, room in granted.items():
            self._count(lane, -room, is_proven=self._is_proven(self._lanes.get(lane)))
        return granted

    def room(self, lane: Lane) -> int:
        """Returns how many more requests may begin now."""
        state = self._lanes.get(lane)
        if state is None:
            return max(0, min(self.settings.first, self._shared_room(lane, is_proven=False)))
        if state.pause or state.held_until:
            now = self.clock()
            if now < state.held_until:
                return 0
            if state.pause:
                # Half open: one request at a time tests whether it answers again.
                is_free = now >= state.open_until and not state.in_flight
                return min(1, max(0, self._shared_room(lane, is_proven=False))) if is_free else 0
        own = state.limit - state.in_flight
        return max(0, min(own, self._shared_room(lane, is_proven=self._is_proven(state)))) if own > 0 else 0

    def is_proven(self, lane: Lane) -> bool:
        """Returns whether it has answered lately, and every time since, and does not ask us to wait."""
        state = self._lanes.get(lane)
        return state is not None and self._is_proven(state) and self.clock() >= state.held_until

    def begin(self, lane: Lane) -> None:
        """Counts a request that has begun."""
        state = self._remember(lane)
        is_proven = self._is_proven(state)
        state.in_flight += 1
        state.unproven_in_flight += not is_proven
        state.used_at = self._active_at[lane.organization_id] = self.clock()
        self._count(lane, 1, is_proven=is_proven)

    def abandon(self, lane: Lane) -> None:
        """Counts a request as over that we or our proxy ended. It says nothing about the receiver."""
        self._release(lane, self._lanes[lane])

    def end(self, lane: Lane, *, is_answered: bool) -> bool:
        """Counts a request that is over. Returns whether it has just opened the breaker."""
        state = self._lanes[lane]
        self._release(lane, state)
        if is_answered:
            state.failures, state.pause, state.answered_at = 0, 0.0, self.clock()
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
        self._rest(lane)
        return not is_probe

    def slow_down(self, lane: Lane, *, hold: float) -> None:
        """Halves its limit after a 429, and lets no request begin for `hold` seconds."""
        state = self._remember(lane)
        state.limit = max(1, state.limit // 2)
        if hold > 0:
            state.held_until = max(state.held_until, self.clock() + hold)
            self._rest(lane)

    def mark_busy(self, lane: Lane) -> None:
        """Notes that more is due for it than it has room for. From now on it has claims of its own."""
        self._remember(lane)
        self._busy[lane] = None

    def put_last(self, lanes: Iterable[Lane]) -> None:
        """Makes these busy lanes the last ones of `busy`."""
        for lane in lanes:
            del self._busy[lane]
            self._busy[lane] = None

    def unmark_busy(self, lane: Lane) -> None:
        """Notes that everything due for it has been claimed."""
        self._busy.pop(lane, None)

    def is_busy(self, lane: Lane) -> bool:
        return lane in self._busy

    def busy(self) -> list[Lane]:
        """Returns the lanes that have more due than they have room for."""
        return list(self._busy)

    def paused(self) -> dict[Lane, float]:
        """Returns the lanes that nothing may be sent in now, with the seconds until the next try."""
        if not self._resting:
            return {}
        now = self.clock()
        paused = {}
        for lane in list(self._resting):
            state = self._lanes[lane]
            left = max(state.open_until if state.pause else 0.0, state.held_until) - now
            if left > 0:
                paused[lane] = left
            elif not state.pause:
                del self._resting[lane]
        return paused

    def may_expire(self, lane: Lane, *, now: float) -> bool:
        """Returns whether it is time to look for deliveries that have waited in it for too long."""
        return now >= self._remember(lane).next_expiry_at

    def expire_not_before(self, lane: Lane, at: float) -> None:
        """Sets the time of the next such look."""
        self._remember(lane).next_expiry_at = at

    def _is_proven(self, state: _Lane | None) -> bool:
        if state is None or state.failures or state.answered_at is None:
            return False
        return self.clock() - state.answered_at < self.settings.proven

    def _shared_room(self, lane: Lane, *, is_proven: bool) -> int:
        """Returns how many more requests the limits allow that the lane shares with others."""
        organization = lane.organization_id
        room = self.settings.most - self._of_origin[lane.origin]
        sharing = len(self._active_at) + (organization not in self._active_at)
        if sharing > 1:
            room = min(room, max(1, self.window // sharing) - self._of_organization[organization])
        if not is_proven:
            room = min(room, self._unproven_room(organization, self._lanes.get(lane)))
        return room

    def _unproven_room(self, organization: int, state: _Lane | None) -> int:
        """Returns how many more requests may begin in a lane that is not proven.

        Each organization leaves as much free as it uses, and each lane as much of its organization's part. Lanes that
        have failed use only half of that part, so that new ones find a place. One request may begin if nothing else of
        the organization is in flight.
        """
        own = self._unproven[organization]
        left = max(2, self.window // 2) - self._unproven_total
        room = (left - own) // 2 if own else max(1, left // 2)
        if state is not None and state.failures and own:
            room -= own
        in_flight = state.unproven_in_flight if state else 0
        if in_flight:
            return (room - in_flight) // 2
        return max(1, room // 2) if room > 0 else 0

    def _release(self, lane: Lane, state: _Lane) -> None:
        state.in_flight -= 1
        # It does not matter which of its requests has ended. Those that began unproven are counted out first.
        is_proven = not state.unproven_in_flight
        state.unproven_in_flight -= not is_proven
        self._count(lane, -1, is_proven=is_proven)

    def _count(self, lane: Lane, number: int, *, is_proven: bool) -> None:
        """Adds a number of requests in flight."""
        _add(self._of_origin, lane.origin, number)
        _add(self._of_organization, lane.organization_id, number)
        if not is_proven:
            _add(self._unproven, lane.organization_id, number)
            self._unproven_total += number

    def _rest(self, lane: Lane) -> None:
        self._resting[lane] = None
        self.mark_busy(lane)

    def _remember(self, lane: Lane) -> _Lane:
        """Returns its state and marks it as used now. An unknown lane, or one not used for long, gets a new state."""
        state = self._lanes.pop(lane, None)
        now = self.clock()
        if state is None or (not state.in_flight and now - state.used_at > self.settings.remembered):
            self._resting.pop(lane, None)
            state = _Lane(limit=self.settings.first, used_at=now)
        self._lanes[lane] = state
        if len(self._lanes) > self.settings.max_remembered:
            self._forget_oldest(but=lane)
        return state

    def _forget_oldest(self, *, but: Lane) -> None:
        """Forgets the least recently used lane that has nothing in flight."""
        for lane, state in self._lanes.items():
            if not state.in_flight and lane != but:
                del self._lanes[lane]
                self._busy.pop(lane, None)
                self._resting.pop(lane, None)
                return


def _add(counter: Counter[_Key], key: _Key, number: int) -> None:
    counter[key] += number
    if not counter[key]:
        del counter[key]
