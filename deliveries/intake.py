"""Decides which delivery is sent next: claims due deliveries, queues them by lane, and takes each lane in turn."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import NamedTuple
from uuid import UUID

from commands_platform.lib.database.availability import unless_away
from deliveries import outcomes, queue
from deliveries.lanes import Lane, Lanes
from deliveries.pacing import MAX_POLL_SECONDS, POLL_SECONDS, poll_seconds, rush_left, until_second
from deliveries.queue import Claim
from deliveries.suspects import Suspects
from deliveries.walk import LaneWalk

# A run begins with a small claim, so that its first requests leave at once. It also shows whether most are for one
# receiver.
_FIRST_CLAIM = 40
_BUSY_AT_ONCE = 500
# A look is followed by a pause of this many times its length, in a rush and otherwise.
_RUSH_PAUSES, _PAUSES = 3, 8
# A sender that is further behind than this keeps a part of each claim for deliveries that are due now.
_BEHIND = timedelta(seconds=1)
_SHARE_DUE_NOW = 0.25
_EXPIRE_AT_ONCE = 500
_EXPIRE_SECONDS = 5.0

# Bounds the bytes of bodies that wait here. It applies once to all busy lanes and once to all others.
MAX_BYTES_WAITING = 4 * 1024 * 1024
# Bounds the bytes of large bodies in flight. Small bodies neither count nor wait.
MAX_BYTES_IN_FLIGHT = 8 * 1024 * 1024


class _Claimed(NamedTuple):
    """The claims of one look, and whether it reached a limit, so that more may be due."""

    claims: list[Claim]
    is_full: bool


class Intake:
    """The claims of one run of the sender that have not begun yet.

    Usually a look claims the oldest deliveries. When more is due than can begin, it walks over the lanes instead, so
    that no backlog hides the deliveries of other lanes. Busy lanes, which have a backlog, have claims of their own.
    """

    def __init__(self, lanes: Lanes, *, window: int, lease: timedelta, holder: UUID | None = None) -> None:
        self._lanes = lanes
        self._window = window
        self._lease = lease
        self._holder = holder
        self._waiting: dict[Lane, deque[Claim]] = {}
        self.waiting_count = 0
        self._bytes: Counter[Lane] = Counter()
        self.suspects = Suspects(lanes, lease=lease)
        self._next_poll_at = self._next_busy_poll_at = 0.0
        self._next_paused_look_at = self._next_expiry_at = 0.0
        self._walk = LaneWalk()
        self._more_may_be_due = True
        self._has_begun = self._was_full = False
        self._is_expiring = False
        # Lanes whose oldest due deliveries are late; None stands for all lanes that are claimed together.
        self._behind: set[Lane | None] = set()

    def has_more(self) -> bool:
        """Returns whether there may be a delivery to send or to fail right now."""
        if self.waiting_count or self.suspects or self._more_may_be_due or self._is_expiring:
            return True
        return self._walk.is_under_way or any(self._lanes.room(lane) for lane in self._lanes.busy())

    def is_giving_way(self) -> bool:
        """Returns whether lanes that are late anyway wait, because slots of another organization may be due now.

        Around a whole second their next requests would take the time in which slots that are due then are sent.
        """
        if not self._behind or not rush_left():
            return False
        late = {lane.organization_id for lane in self._behind if lane is not None}
        return bool(late) and self._lanes.is_any_active(but=late)

    def look_at_once(self) -> None:
        """Makes the next `claim` look at once, without the usual pause."""
        self._next_poll_at = 0.0

    def claim(self, *, idle: int, in_flight: int) -> None:
        """Claims due deliveries, at most a window ahead, so that no claim waits for long while its lease runs.

        `idle` and `in_flight` count the sender's handles.
        """
        now = time.monotonic()
        if self._more_may_be_due or now >= self._next_poll_at or (self._walk.is_under_way and not in_flight):
            self._claim_if_there_is_place(now, idle)
        if now >= self._next_busy_poll_at or not in_flight:
            self._next_busy_poll_at = now + POLL_SECONDS / 5
            self._claim_of_busy_lanes()

    def _claim_if_there_is_place(self, now: float, idle: int) -> None:
        self._lanes.note_active({lane.organization_id for lane in self._waiting})
        self._set_full_lanes_aside()
        # Claims waiting for a busy lane must not stop us from looking for other work.
        others = [lane for lane in self._waiting if not self._lanes.is_busy(lane)]
        waiting = sum(len(self._waiting[lane]) for lane in others)
        max_bytes = MAX_BYTES_WAITING - sum(self._bytes[lane] for lane in others)
        # Lanes that became busy took their claims with them.
        max_bytes = min(max_bytes, 2 * MAX_BYTES_WAITING - self._bytes.total())
        if waiting * 2 >= self._window or max_bytes <= 0:
            return
        limit = idle + self._window - waiting
        if not self._has_begun:
            limit = min(limit, _FIRST_CLAIM)
        claims, self._was_full = self._look(limit, max_bytes)
        self._has_begun = self._has_begun or bool(claims)
        # A portion of a walk that found nothing to claim is followed by a pause, like the end of the walk.
        self._more_may_be_due = self._was_full or bool(claims and self._walk.is_under_way)
        ended = time.monotonic()
        pause = (_RUSH_PAUSES if rush_left() else _PAUSES) * (ended - now)
        if not self._walk.is_under_way:
            pause = max(poll_seconds(), pause)
        # Slots are due on whole seconds, so no pause goes beyond one.
        self._next_poll_at = ended + min(pause, MAX_POLL_SECONDS, until_second())
        self.take(claims)

    def take(self, claims: Sequence[Claim]) -> None:
        """Queues claims by lane. Releases at once those beyond a lane's share."""
        surplus = []
        claims = self.suspects.take(claims)
        # For each lane: its claims, how many of them may begin, and how many may wait here.
        shares: dict[Lane, tuple[deque[Claim], int, int]] = {}
        for claim in claims:
            lane = claim.lane
            share = shares.get(lane)
            if share is None:
                room = self._lanes.room(lane)
                line = self._waiting.get(lane) or deque()
                share = shares[lane] = (line, room, max(room, self._max_ahead(lane)))
            line, room, max_waiting = share
            has_place = len(line) < max_waiting
            if has_place:
                line.append(claim)
                self._waiting[lane] = line
                self.waiting_count += 1
                self._bytes[lane] += claim.size
            else:
                surplus.append(claim)
            if not has_place or len(line) > room:
                self._lanes.mark_busy(lane)
        self._lanes.note_active({lane.organization_id for lane in shares})
        release(surplus)

    def next_claims(self, large_bytes_in_flight: Callable[[], int]) -> Iterator[Claim]:
        """Yields the claims that may begin now, one of each lane in turn.

        The caller begins or ends each before it asks for the next. `large_bytes_in_flight` returns the total size of
        the large bodies that it is sending.
        """
        while self._waiting:
            has_begun = is_full = False
            gives_way = self.is_giving_way()
            for lane in list(self._waiting):
                first = self._waiting[lane][0]
                if not self._lanes.room(lane) or (gives_way and lane in self._behind):
                    continue
                if first.is_large:
                    # No other large body may pass one that waits, or the largest might wait for ever.
                    is_full = is_full or large_bytes_in_flight() > max(0, MAX_BYTES_IN_FLIGHT - first.size)
                    if is_full:
                        continue
                # A lane that had its turn goes to the end, so that every lane gets its turn.
                line = self._waiting.pop(lane)
                claim = line.popleft()
                self.waiting_count -= 1
                self._bytes[lane] -= claim.size
                if line:
                    self._waiting[lane] = line
                else:
                    del self._bytes[lane]
                has_begun = True
                yield claim
            if not has_begun:
                return

    def leave_paused(self) -> None:
        """Releases the claims of paused lanes, and fails deliveries that have waited in them for too long."""
        now = time.monotonic()
        if now < self._next_paused_look_at:
            return
        self._next_paused_look_at = now + POLL_SECONDS / 5
        self._is_expiring = False
        paused = self._lanes.paused()
        release(self.suspects.give_up(paused=paused))
        for lane in paused:
            self._release_line(lane)
            if now >= self._next_expiry_at and self._lanes.may_expire(lane, now=now):
                self._expire(lane)

    def _expire(self, lane: Lane) -> None:
        began = time.monotonic()
        expire = partial(outcomes.expire, lane=lane, limit=_EXPIRE_AT_ONCE)
        self._is_expiring = unless_away(expire, otherwise=0) == _EXPIRE_AT_ONCE
        # A look reads everything that is due in the lane. The longer it takes, the longer the pause. With many paused
        # lanes, the looks must leave time for other work.
        ended = time.monotonic()
        pause = 0.0 if self._is_expiring else max(_EXPIRE_SECONDS, 50 * (ended - began))
        self._lanes.expire_not_before(lane, ended + pause)
        self._next_expiry_at = ended + (0.0 if self._is_expiring else 10 * (ended - began))

    def give_up(self) -> list[Claim]:
        """Returns all claims that have not begun, and forgets them."""
        claims = [*self.suspects.give_up(), *(claim for line in self._waiting.values() for claim in line)]
        self._waiting.clear()
        self._bytes.clear()
        self.waiting_count = 0
        return claims

    def _set_full_lanes_aside(self) -> None:
        """Makes lanes busy in which nothing can begin, because of a limit that they share with others."""
        for lane in list(self._waiting):
            if not self._lanes.is_busy(lane) and not self._lanes.room(lane):
                self._lanes.mark_busy(lane)
                if not self._max_ahead(lane):
                    self._release_line(lane)

    def _release_line(self, lane: Lane) -> None:
        held = self._waiting.pop(lane, None)
        if held:
            self.waiting_count -= len(held)
            del self._bytes[lane]
            release(list(held))

    def _look(self, limit: int, max_bytes: int) -> _Claimed:
        """Claims the oldest deliveries, or walks over the lanes if some deliveries might hide others."""
        if not self._walk.is_under_way and (self._lanes.busy_count or self._was_full):
            organizations = self._walk.begin()
            if organizations < 2 and not self._lanes.busy_count:
                self._walk.end()
        if self._walk.is_under_way:
            self._walk.read_on()
            return self._claim_on_walk(limit, max_bytes)
        return self._claim_due(limit, max_bytes)

    def _claim_on_walk(self, limit: int, max_bytes: int) -> _Claimed:
        """Claims for the next lanes of the walk that are not busy."""
        of: dict[Lane, int] = {}
        while len(of) < limit and (lane := self._walk.next_lane()) is not None:
            if not self._lanes.is_busy(lane):
                of[lane] = 0
        granted = self._lanes.grant(of, limit=limit)
        for lane in of:
            if lane not in granted and not self._lanes.room(lane):
                # It is asked about when there is room.
                self._lanes.mark_busy(lane)
        beyond = [lane for lane in of if lane not in granted and not self._lanes.is_busy(lane)]
        self._walk.put_back(beyond)
        if not granted:
            return _Claimed([], is_full=False)
        # Asking for one more than there is room for shows whether there are more.
        asked = {lane: room + 1 for lane, room in granted.items()}
        claims = self._claim_oldest(sum(asked.values()), max_bytes, of=asked)
        if _bytes_of(claims) >= max_bytes:
            # The lanes after the last claim were not reached.
            reached = {claim.lane for claim in claims}
            last = max((place for place, lane in enumerate(asked) if lane in reached), default=0)
            self._walk.put_back(list(asked)[last:])
        return _Claimed(claims, is_full=False)

    def _claim_of_busy_lanes(self) -> None:
        """Claims for lanes that have more due than they may have in flight, those first that have waited longest."""
        busy = self._lanes.busy()[:_BUSY_AT_ONCE]
        if self.is_giving_way():
            busy = [lane for lane in busy if lane not in self._behind]
        if not busy:
            return
        max_bytes = MAX_BYTES_WAITING - sum(self._bytes[lane] for lane in self._waiting if self._lanes.is_busy(lane))
        granted = self._lanes.grant(busy, limit=2 * self._window)
        of: dict[Lane, int] = {}
        for lane in busy:
            room = granted.get(lane, 0)
            if not room and not self._lanes.is_proven(lane):
                continue
            held, ahead = len(self._waiting.get(lane, ())), self._max_ahead(lane)
            has_bytes = not held or (max_bytes > 0 and self._bytes[lane] < MAX_BYTES_WAITING // len(busy))
            if held * 4 <= ahead and (ahead or room) and has_bytes:
                of[lane] = max(ahead, room) - held
        # Those without room come last too, so that however many there are, all get their turn.
        self._lanes.put_last(lane for lane in busy if lane not in of)
        if not of:
            return
        late = {lane: share for lane in of if lane in self._behind and (share := int(of[lane] * _SHARE_DUE_NOW))}
        claims: list[Claim] = []
        if late:
            share_of_bytes = max(1, int(max_bytes * _SHARE_DUE_NOW))
            claims = self._claim_oldest(sum(late.values()), share_of_bytes, of=late, no_later_than=_BEHIND)
            taken = Counter(claim.lane for claim in claims)
            of = {lane: count - taken[lane] for lane, count in of.items()}
        bytes_left = max(1, max_bytes - _bytes_of(claims))
        oldest = self._claim_oldest(sum(of.values()), bytes_left, of=of)
        is_cut = _bytes_of(oldest) >= bytes_left
        last = {claim.lane: claim for claim in oldest}
        found = Counter(claim.lane for claim in oldest)
        for lane, count in of.items():
            if found[lane] >= count and count and last[lane].lateness > _BEHIND:
                self._behind.add(lane)
            else:
                self._behind.discard(lane)
            if found[lane] or not is_cut:
                self._lanes.put_last([lane])
            if found[lane] < count and not is_cut:
                self._lanes.unmark_busy(lane)
        self.take(claims + oldest)

    def _max_ahead(self, lane: Lane) -> int:
        """Returns how many claims may wait for a lane: many if it answers, and none if that is unknown."""
        if not self._lanes.is_proven(lane):
            return 0
        # Two windows in all, so that claims wait here for a short time only.
        return max(self._lanes.room(lane), self._window * 2 // max(1, self._lanes.busy_count))

    def _claim_due(self, limit: int, max_bytes: int) -> _Claimed:
        """Claims the oldest of all.

        After an outage, a part of each claim goes to deliveries that are due now, not to the backlog.
        """
        due_now: list[Claim] = []
        if None in self._behind and (share := int(limit * _SHARE_DUE_NOW)):
            due_now = self._claim_oldest(share, max(1, int(max_bytes * _SHARE_DUE_NOW)), no_later_than=_BEHIND)
        left, bytes_left = limit - len(due_now), max(1, max_bytes - _bytes_of(due_now))
        oldest = self._claim_oldest(left, bytes_left)
        is_full = len(oldest) == left or _bytes_of(oldest) >= bytes_left
        if is_full and oldest and oldest[-1].lateness > _BEHIND:
            self._behind.add(None)
        else:
            self._behind.discard(None)
        return _Claimed(due_now + oldest, is_full)

    def _claim_oldest(
        self,
        limit: int,
        max_bytes: int,
        *,
        of: Mapping[Lane, int] | None = None,
        no_later_than: timedelta | None = None,
    ) -> list[Claim]:
        """Claims the oldest. While the database is away nothing is claimed, and requests in flight go on."""
        claim = partial(
            queue.claim,
            limit=limit,
            lease=self._lease,
            holder=self._holder,
            of=of,
            no_later_than=no_later_than,
            max_bytes=max_bytes,
            with_suspects=self.suspects.has_place,
        )
        nothing: list[Claim] = []
        return unless_away(claim, otherwise=nothing)


def _bytes_of(claims: Sequence[Claim]) -> int:
    return sum(claim.size for claim in claims)


def release(claims: Sequence[Claim]) -> None:
    """Releases claims. If the database is away, their rows become free when the lease ends."""
    if claims:
        unless_away(partial(outcomes.release, claims), otherwise=None)
