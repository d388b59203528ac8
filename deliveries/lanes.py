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
place at once, however many receivers hang. While several organizations have something to send, none gets more than an
equal share of the window and half of what is free. One alone may use the window but for a twentieth, which is kept for
organizations that have nothing in flight.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple
from weakref import WeakValueDictionary


class Lane(NamedTuple):
    """All that one organization sends to one origin."""

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


@dataclass(slots=True, weakref_slot=True)
class _Share:
    """The places of an organization or an origin, over all its lanes."""

    in_flight: int = 0
    unproven: int = 0
    """Requests in flight in lanes that were not proven when they began."""


@dataclass(slots=True)
class _Lane:
    limit: int
    organization: _Share
    origin: _Share
    in_flight: int = 0
    unproven_in_flight: int = 0
    failures: int = 0
    pause: float = 0.0
    open_until: float = 0.0
    held_until: float = 0.0
    used_at: float = 0.0
    proven_until: float = 0.0
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
    # They live as long as a lane uses them.
    _shares: WeakValueDictionary[int | str, _Share] = field(default_factory=WeakValueDictionary)
    _in_flight: int = 0
    _unproven: int = 0
    # When each organization last had something to send. Those that have been idle for some time share nothing.
    _active_at: dict[int, float] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._lanes)

    @property
    def busy_count(self) -> int:
        """The number of lanes with requests in flight."""
        return len(self._busy)

    def note_active(self, organizations: Iterable[int]) -> None:
        """Notes which organizations have something to send now."""
        now = self.clock()
        for organization in organizations:
            self._active_at[organization] = now
        for organization, at in list(self._active_at.items()):
            share = self._shares.get(organization)
            if now - at > self.settings.active and not (share and share.in_flight):
                del self._active_at[organization]

    def is_any_active(self, *, but: Collection[int]) -> bool:
        """Returns whether an organization other than these has had something to send lately."""
        return any(organization not in but for organization in self._active_at)

    def grant(self, lanes: Iterable[Lane], *, limit: int) -> dict[Lane, int]:
        """Returns how many requests may begin in each of these lanes if all of them begin, up to `limit` in all.

        Lanes without room are left out. Earlier lanes take precedence.
        """
        granted: dict[Lane, int] = {}
        began: list[tuple[_Lane, int, bool]] = []
        # Organizations that have no place left for lanes that are not proven, those that have failed or the others.
        full: set[tuple[int, bool]] = set()
        now = self.clock()
        for lane in lanes:
            if limit <= 0:
                break
            known = self._lanes.get(lane)
            if known is not None and now >= known.proven_until:
                group = (lane.organization_id, known.failures > 0)
                if group in full:
                    continue
                if self._unproven_part(known) <= 0:
                    full.add(group)
                    continue
            room = min(self.room(lane), limit)
            if room:
                granted[lane] = room
                limit -= room
                state = self._remember(lane)
                is_proven = self._is_proven(state)
                self._count(state, room, is_proven=is_proven)
                began.append((state, room, is_proven))
        for state, room, is_proven in began:
            self._count(state, -room, is_proven=is_proven)
        return granted

    def room(self, lane: Lane) -> int:
        """Returns how many more requests may begin now."""
        state = self._lanes.get(lane)
        if state is None:
            origin, organization = self._shares.get(lane.origin), self._shares.get(lane.organization_id)
            state = _Lane(self.settings.first, organization or _Share(), origin or _Share())
        now = self.clock()
        own = state.limit - state.in_flight
        if state.pause or state.held_until:
            if now < state.held_until:
                return 0
            if state.pause:
                # Half open: one request at a time tests whether it answers again.
                own = 1 if now >= state.open_until and not state.in_flight else 0
        if own <= 0:
            return 0
        own = min(own, self.settings.most - state.origin.in_flight, self._room_of(lane.organization_id, state))
        if now >= state.proven_until:
            own = min(own, self._unproven_room(state))
        return max(0, own)

    def is_proven(self, lane: Lane) -> bool:
        """Returns whether it has answered lately, and every time since, and does not ask us to wait."""
        state = self._lanes.get(lane)
        return state is not None and state.held_until <= self.clock() < state.proven_until

    def begin(self, lane: Lane) -> None:
        """Counts a request that has begun."""
        state = self._remember(lane)
        is_proven = self._is_proven(state)
        state.in_flight += 1
        state.unproven_in_flight += not is_proven
        state.used_at = self._active_at[lane.organization_id] = self.clock()
        self._count(state, 1, is_proven=is_proven)

    def abandon(self, lane: Lane) -> None:
        """Counts a request as over that we or our proxy ended. It says nothing about the receiver."""
        self._release(self._lanes[lane])

    def end(self, lane: Lane, *, is_answered: bool) -> bool:
        """Counts a request that is over. Returns whether it has just opened the breaker."""
        state = self._lanes[lane]
        self._release(state)
        if is_answered:
            state.failures, state.pause, state.proven_until = 0, 0.0, self.clock() + self.settings.proven
            state.limit = min(state.limit + 1, self.settings.most)
            return False
        if state.pause and self.clock() < state.open_until:
            # It was in flight when the breaker opened, so it is not a probe and tells nothing new.
            return False
        state.failures += 1
        state.proven_until = 0.0
        state.limit = max(1, state.limit // 2)
        is_probe = state.pause > 0
        if not is_probe and state.failures < self.settings.failures:
            return False
        state.pause = min(max(state.pause * 2, self.settings.first_pause), self.settings.longest_pause)
        state.open_until = self.clock() + state.pause
        self._rest(lane)
        return not is_probe

    def forgive(self, is_meant: Callable[[Lane], bool]) -> None:
        """Closes the breakers of the lanes that are meant, because our own network had failed and not they."""
        for lane in filter(is_meant, list(self._resting)):
            state = self._lanes[lane]
            state.failures, state.pause, state.open_until = 0, 0.0, 0.0
            state.limit = max(state.limit, min(self.settings.first, self.settings.most))

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

    def _is_proven(self, state: _Lane) -> bool:
        """Returns whether it has answered lately, and every time since."""
        return self.clock() < state.proven_until

    def _room_of(self, organization_id: int, state: _Lane) -> int:
        """Returns how many more requests the organization may begin.

        While several organizations are active, it may exceed an equal share by half of what is free. It leaves some
        places free for an organization that has nothing in flight.
        """
        own = state.organization.in_flight
        free = self.window - self._in_flight
        sharing = len(self._active_at) + (organization_id not in self._active_at)
        if own and free <= self._reserve:
            return 0
        if sharing == 1:
            return free - self._reserve if own else free
        return max(self.window // sharing - own, free // 2, 0 if own else 1)

    @property
    def _reserve(self) -> int:
        """The places that are kept for organizations that have nothing in flight."""
        return self.window // 20

    def _unproven_room(self, state: _Lane) -> int:
        """Returns how many more requests may begin in a lane that is not proven.

        Each lane leaves as much of its organization's part free as it uses. One request may begin if nothing else of
        the organization is in flight.
        """
        room = self._unproven_part(state)
        if state.unproven_in_flight:
            return (room - state.unproven_in_flight) // 2
        return max(1, room // 2) if room > 0 else 0

    def _unproven_part(self, state: _Lane) -> int:
        """Returns how many more requests an organization may begin in lanes that are not proven, such as this one.

        Each organization leaves as much free as it uses. Lanes that have failed use only half of that part, so that
        new ones find a place.
        """
        if self._unproven * 4 >= self.window * 3:
            # Very many organizations have one such request each. The rest of the window is for others.
            return 0
        own = state.organization.unproven
        left = max(2, self.window // 2) - self._unproven
        part = (left - own) // 2 if own else max(1, left // 2)
        return part - own if state.failures else part

    def _release(self, state: _Lane) -> None:
        state.in_flight -= 1
        # It does not matter which of its requests has ended. Those that began unproven are counted out first.
        is_proven = not state.unproven_in_flight
        state.unproven_in_flight -= not is_proven
        self._count(state, -1, is_proven=is_proven)

    def _count(self, state: _Lane, number: int, *, is_proven: bool) -> None:
        """Adds a number of requests in flight."""
        self._in_flight += number
        state.origin.in_flight += number
        state.organization.in_flight += number
        if not is_proven:
            state.organization.unproven += number
            self._unproven += number

    def _rest(self, lane: Lane) -> None:
        self._resting[lane] = None
        self.mark_busy(lane)

    def _remember(self, lane: Lane) -> _Lane:
        """Returns its state and marks it as used now. An unknown lane, or one not used for long, gets a new state."""
        state = self._lanes.pop(lane, None)
        now = self.clock()
        if state is None or (self._is_idle(state, now) and now - state.used_at > self.settings.remembered):
            self._resting.pop(lane, None)
            origin = self._shares.setdefault(lane.origin, _Share())
            organization = self._shares.setdefault(lane.organization_id, _Share())
            state = _Lane(self.settings.first, organization, origin, used_at=now)
        self._lanes[lane] = state
        if len(self._lanes) > self.settings.max_remembered:
            self._forget_oldest(but=lane)
        return state

    @staticmethod
    def _is_idle(state: _Lane, now: float) -> bool:
        return not state.in_flight and now >= state.held_until and (not state.pause or now >= state.open_until)

    def _forget_oldest(self, *, but: Lane) -> None:
        """Forgets the least recently used lane that has nothing in flight."""
        for lane, state in self._lanes.items():
            if not state.in_flight and lane != but:
                del self._lanes[lane]
                self._busy.pop(lane, None)
                self._resting.pop(lane, None)
                return
