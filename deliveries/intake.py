"""Decides which delivery is sent next: claims due deliveries, queues them by origin, and takes each origin in turn."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import NamedTuple

from commands_platform.lib.database.availability import unless_away
from deliveries import outcomes, queue
from deliveries.origins import Origins
from deliveries.pacing import MAX_POLL_SECONDS, POLL_SECONDS, poll_seconds, rush_left
from deliveries.queue import Claim

# A run begins with a small claim, so that its first requests leave at once. It also shows whether most are for one
# receiver.
_FIRST_CLAIM = 40
_ORIGINS_AT_ONCE = 500
# A sender that is further behind than this keeps a part of each claim for deliveries that are due now.
_BEHIND = timedelta(seconds=2)
_SHARE_DUE_NOW = 0.25
_EXPIRE_AT_ONCE = 500
_EXPIRE_SECONDS = 5.0

# Bounds the bytes of bodies that wait here. It applies once to all busy origins and once to all others.
MAX_BYTES_WAITING = 4 * 1024 * 1024
# Bounds the bytes of large bodies in flight. Small bodies neither count nor wait.
MAX_BYTES_IN_FLIGHT = 8 * 1024 * 1024
# A delivery whose claim was lost this often may have killed its senders. It is sent alone, so that no other is lost
# with it.
MIN_LOST_OF_A_SUSPECT = 2


class _Claimed(NamedTuple):
    """The claims of one look, and whether it reached a limit, so that more may be due."""

    claims: list[Claim]
    is_full: bool
    last_origin: str = ""
    """If a limit was reached: the last origin that the look came to."""


class Intake:
    """The claims of one run of the sender that have not begun yet."""

    def __init__(self, origins: Origins, *, window: int, lease: timedelta) -> None:
        self._origins = origins
        self._window = window
        self._lease = lease
        self._waiting: dict[str, deque[Claim]] = {}
        self.waiting_count = 0
        self._bytes: Counter[str] = Counter()
        self._suspects: deque[Claim] = deque()
        self._next_poll_at = self._next_busy_poll_at = 0.0
        # A walk over the origins that are not busy: how far it has come, and how long it has taken.
        self._last_origin = ""
        self._walked_for = 0.0
        self._more_may_be_due = True
        self._has_begun = False
        self._is_expiring = False
        # Origins whose oldest due deliveries are late; None stands for all origins that are claimed together.
        self._behind: set[str | None] = set()

    def has_more(self) -> bool:
        """Returns whether there may be a delivery to send or to fail right now."""
        if self.waiting_count or self._suspects or self._more_may_be_due or self._is_expiring:
            return True
        return any(self._origins.room(origin) for origin in self._origins.busy())

    @property
    def has_suspects(self) -> bool:
        """Returns whether a claim waits here that may kill this process."""
        return bool(self._suspects)

    def look_at_once(self) -> None:
        """Makes the next `claim` look at once, without the usual pause."""
        self._next_poll_at = 0.0

    def claim(self, *, idle: int, in_flight: int) -> None:
        """Claims due deliveries, at most a window ahead, so that no claim waits for long while its lease runs.

        `idle` and `in_flight` count the sender's handles.
        """
        now = time.monotonic()
        busy = self._origins.busy()
        # Claims waiting for a busy origin must not stop us from looking for other work.
        waiting = self.waiting_count - sum(len(self._waiting.get(origin, ())) for origin in busy)
        max_bytes = MAX_BYTES_WAITING - self._bytes.total() + sum(self._bytes[origin] for origin in busy)
        has_place = waiting * 2 < self._window and max_bytes > 0
        if has_place and (self._more_may_be_due or now >= self._next_poll_at):
            limit = idle + self._window - waiting
            if not self._has_begun:
                limit = min(limit, _FIRST_CLAIM)
            claim = self._claim_beside if busy else self._claim_due
            claims, is_full, _ = claim(limit, max_bytes)
            self._has_begun = self._has_begun or bool(claims)
            is_on_a_walk = bool(self._last_origin)
            self._more_may_be_due = is_full or is_on_a_walk
            ended = time.monotonic()
            self._walked_for += ended - now
            if not is_on_a_walk:
                # Only the end of a walk is followed by a pause.
                pause = self._walked_for if rush_left() else 5 * self._walked_for
                self._next_poll_at = ended + min(max(poll_seconds(), pause), MAX_POLL_SECONDS)
                self._walked_for = 0.0
            self.take(claims)
        if now >= self._next_busy_poll_at or not in_flight:
            self._next_busy_poll_at = now + POLL_SECONDS / 5
            for origin in self._origins.busy():
                self._claim_of(origin)

    def take(self, claims: Sequence[Claim]) -> None:
        """Queues claims by origin. Releases at once those beyond an origin's share."""
        surplus = []
        if any(claim.lost >= MIN_LOST_OF_A_SUSPECT for claim in claims):
            self._suspects.extend(claim for claim in claims if claim.lost >= MIN_LOST_OF_A_SUSPECT)
            claims = [claim for claim in claims if claim.lost < MIN_LOST_OF_A_SUSPECT]
        # For each origin: its claims, how many of them may begin, and how many may wait here.
        shares: dict[str, tuple[deque[Claim], int, int]] = {}
        for claim in claims:
            share = shares.get(claim.origin)
            if share is None:
                room = self._origins.room(claim.origin)
                line = self._waiting.get(claim.origin) or deque()
                share = shares[claim.origin] = (line, room, max(room, self._max_ahead(claim.origin)))
            line, room, max_waiting = share
            has_place = len(line) < max_waiting
            if has_place:
                line.append(claim)
                self._waiting[claim.origin] = line
                self.waiting_count += 1
                self._bytes[claim.origin] += claim.size
            else:
                surplus.append(claim)
            if not has_place or len(line) > room:
                self._origins.mark_busy(claim.origin)
        release(surplus)

    def next_claims(self, large_bytes_in_flight: Callable[[], int]) -> Iterator[Claim]:
        """Yields the claims that may begin now, one of each origin in turn.

        The caller begins or ends each before it asks for the next. `large_bytes_in_flight` returns the total size of
        the large bodies that it is sending.
        """
        while self._waiting:
            has_begun = is_full = False
            for origin in list(self._waiting):
                first = self._waiting[origin][0]
                if not self._origins.room(origin):
                    continue
                if first.is_large:
                    # No other large body may pass one that waits, or the largest might wait for ever.
                    is_full = is_full or large_bytes_in_flight() > max(0, MAX_BYTES_IN_FLIGHT - first.size)
                    if is_full:
                        continue
                # An origin that had its turn goes to the end, so that every origin gets its turn.
                line = self._waiting.pop(origin)
                claim = line.popleft()
                self.waiting_count -= 1
                self._bytes[origin] -= claim.size
                if line:
                    self._waiting[origin] = line
                else:
                    del self._bytes[origin]
                has_begun = True
                yield claim
            if not has_begun:
                return

    def next_suspect(self) -> Claim | None:
        """Returns a claim that may kill this process, if one may begin now. Releases all others that wait here."""
        if not self._suspects:
            return None
        origin = self._suspects[0].origin
        if not self._origins.room(origin):
            if origin in self._origins.paused():
                release([self._suspects.popleft()])
            return None
        claim = self._suspects.popleft()
        release(self.give_up())
        self._more_may_be_due = True
        return claim

    def leave_paused(self) -> None:
        """Releases the claims of paused origins, and fails deliveries that have waited too long for them."""
        self._is_expiring = False
        for origin in self._origins.paused():
            held = self._waiting.pop(origin, None)
            if held:
                self.waiting_count -= len(held)
                del self._bytes[origin]
                release(list(held))
            began = time.monotonic()
            if not self._origins.may_expire(origin, now=began):
                continue
            expire = partial(outcomes.expire, origin=origin, limit=_EXPIRE_AT_ONCE)
            has_more = unless_away(expire, otherwise=0) == _EXPIRE_AT_ONCE
            self._is_expiring = self._is_expiring or has_more
            # A look reads everything that is due for the origin. The longer it takes, the longer the pause.
            ended = time.monotonic()
            pause = 0.0 if has_more else max(_EXPIRE_SECONDS, 50 * (ended - began))
            self._origins.expire_not_before(origin, ended + pause)

    def give_up(self) -> list[Claim]:
        """Returns all claims that have not begun, and forgets them."""
        claims = [*self._suspects, *(claim for line in self._waiting.values() for claim in line)]
        self._waiting.clear()
        self._suspects.clear()
        self._bytes.clear()
        self.waiting_count = 0
        return claims

    def _claim_beside(self, limit: int, max_bytes: int) -> _Claimed:
        """Claims some for each origin that is not busy, however much is due for those that are."""
        busy = self._origins.busy()
        look = partial(queue.waiting_origins, after=self._last_origin, limit=_ORIGINS_AT_ONCE)
        self._last_origin = ""
        found: list[str] = unless_away(look, otherwise=[])
        # Asking for one more than there is room for shows whether there are more.
        of = {origin: self._origins.room(origin) + 1 for origin in found if origin not in busy}
        claimed = self._claim_due(limit, max_bytes, of=of) if of else _Claimed([], is_full=False)
        if claimed.is_full:
            self._last_origin = claimed.last_origin
        elif len(found) == _ORIGINS_AT_ONCE:
            self._last_origin = found[-1]
        return claimed

    def _claim_of(self, origin: str) -> None:
        """Claims for one busy origin, which has more due than it may have in flight."""
        held = len(self._waiting.get(origin, ()))
        room, ahead = self._origins.room(origin), self._max_ahead(origin)
        max_bytes = MAX_BYTES_WAITING // len(self._origins.busy()) - self._bytes[origin]
        if held * 4 > ahead or not (ahead or room) or (held and max_bytes <= 0):
            return
        limit = max(ahead, room) - held
        claims, is_full, _ = self._claim_due(limit, max(max_bytes, 1), of={origin: limit})
        if not is_full:
            self._origins.unmark_busy(origin)
        self.take(claims)

    def _max_ahead(self, origin: str) -> int:
        """Returns how many claims may wait for an origin: many if it answers, none if it is in doubt."""
        if self._origins.is_in_doubt(origin):
            return 0
        # Two windows in all, so that claims wait here for a short time only.
        return max(self._origins.room(origin), self._window * 2 // max(1, len(self._origins.busy())))

    def _claim_due(self, limit: int, max_bytes: int, *, of: Mapping[str, int] | None = None) -> _Claimed:
        """Claims the oldest.

        After an outage, a part of each claim goes to deliveries that are due now, not to the backlog. While the
        database is away nothing is claimed, and requests in flight go on.
        """
        claim = partial(queue.claim, lease=self._lease)
        # Each busy origin has a backlog of its own; all others share one.
        backlog = next(iter(of)) if of and len(of) == 1 else None
        due_now: list[Claim] = []
        if backlog in self._behind and (share := int(limit * _SHARE_DUE_NOW)):
            share_of_bytes = max(1, int(max_bytes * _SHARE_DUE_NOW))
            recent = partial(claim, limit=share, of=of, no_later_than=_BEHIND, max_bytes=share_of_bytes)
            due_now = unless_away(recent, otherwise=due_now)
            if of is not None:
                taken = Counter(claim.origin for claim in due_now)
                of = {origin: count - taken[origin] for origin, count in of.items()}
        left, bytes_left = limit - len(due_now), max(1, max_bytes - _bytes_of(due_now))
        oldest = unless_away(partial(claim, limit=left, of=of, max_bytes=bytes_left), otherwise=due_now[:0])
        is_full = len(oldest) == left or _bytes_of(oldest) >= bytes_left
        if is_full and oldest[-1].lateness > _BEHIND:
            self._behind.add(backlog)
        else:
            self._behind.discard(backlog)
        # Deliveries that are due now may be for later origins. They say nothing about the origins between.
        last_origin = max(each.origin for each in oldest) if is_full else ""
        return _Claimed(due_now + oldest, is_full, last_origin)


def _bytes_of(claims: Sequence[Claim]) -> int:
    return sum(claim.size for claim in claims)


def release(claims: Sequence[Claim]) -> None:
    """Releases claims. If the database is away, their rows become free when the lease ends."""
    if claims:
        unless_away(partial(outcomes.release, claims), otherwise=None)
