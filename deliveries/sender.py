"""The sender: a plain loop over one libcurl multi handle, with a sliding window of transfers in flight.

It claims under a lease, sends, and records, and there is no barrier between the three: a slow receiver holds its own
places in the window and nobody else's. Between runs the handles and their connections stay open.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from typing import TypeVar

import pycurl
import structlog
from django.conf import settings
from django.db import Error, close_old_connections

from commands_platform.lib.database.availability import is_away, log_away
from deliveries import queue
from deliveries.callback import build_request
from deliveries.models import Reason, State
from deliveries.origins import Origins, OriginSettings
from deliveries.queue import Claim, Outcome
from deliveries.retry_policy import is_retryable, retry_delay
from deliveries.transfer import Result, Transfer
from outbound.address_guard import AddressGuard
from outbound.forward_proxy import ForwardProxy
from outbound.guard import address_guard

logger = structlog.get_logger(__name__)

T = TypeVar("T")

# A run begins with a small claim: its first requests leave at once, and it shows whether one receiver has the most.
_FIRST_CLAIM = 40
# While requests are under way, new work is looked for this often; it is one probe of a small index.
_POLL_SECONDS = 0.05
_LONGEST_POLL_SECONDS = 0.5
# Slots are due on whole seconds. Around one, from before until after it, a sender that is awake looks more often.
_RUSH_POLL_SECONDS = 0.004
_RUSH_BEFORE, _RUSH_AFTER = 0.02, 0.06
_ORIGINS_AT_ONCE = 500
_RECORD_AT_ONCE = 200
_RECORD_WITHIN_SECONDS = 0.05
_STOP_WITHIN_SECONDS = 3.0
# Behind by more than this, a part of each claim is for what is due now.
_BEHIND = timedelta(seconds=2)
_SHARE_DUE_NOW = 0.25
_EXPIRE_AT_ONCE = 500
_EXPIRE_SECONDS = 5.0
_RECONNECT_SECONDS = 0.5
# The loop comes round many times a second; more than this between two rounds is no fault of a receiver.
_STALL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class SenderSettings:
    """How a sender works; times are spans, `window` is the number of transfers in flight at most."""

    window: int
    timeout: timedelta
    lease: timedelta
    retry_delays: Sequence[timedelta]
    guard: AddressGuard
    proxy: ForwardProxy | None = None
    origins: OriginSettings = field(default_factory=OriginSettings)


@dataclass(slots=True)
class _Run:
    """What one run of the loop has in hand."""

    waiting: dict[str, deque[Claim]] = field(default_factory=dict)
    waiting_count: int = 0
    in_flight: int = 0
    outcomes: list[Outcome] = field(default_factory=list)
    first_outcome_at: float = 0.0
    next_poll_at: float = 0.0
    walked_for: float = 0.0
    last_origin: str = ""
    next_crowded_poll_at: float = 0.0
    more_may_be_due: bool = True
    has_begun: bool = False
    expiring: bool = False
    finished: int = 0


class Sender:
    """Sends what is due, again and again; one for each process, used by one thread."""

    def __init__(self, config: SenderSettings) -> None:
        self._config = config
        self._timeout_seconds = config.timeout.total_seconds()
        self._lease_seconds = config.lease.total_seconds()
        self._origins = Origins(config.origins)
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_MAXCONNECTS, config.window * 2)
        self._idle = [Transfer(config.guard, config.proxy) for _ in range(config.window)]
        self._busy: set[Transfer] = set()
        self._next_expiry: dict[str, float] = {}
        # Origins whose oldest due deliveries are late; None stands for all that are claimed together.
        self._behind: set[str | None] = set()
        self._performed_at = self._next_look_at = 0.0

    def drain(self, *, should_stop: Callable[[], bool] = lambda: False) -> int:
        """Sends until nothing is due and nothing is in flight; how many deliveries it recorded.

        When `should_stop` turns true it claims no more, gives what is in flight a few seconds, and hands the rest back.
        """
        run = _Run()
        stop_at: float | None = None
        # Woken just before or after a whole second: what is due at it may be still to come.
        stay_until = time.monotonic() + _rush_left()
        try:
            while True:
                stays = time.monotonic() < stay_until
                if stop_at is None and should_stop():
                    stop_at = time.monotonic() + _STOP_WITHIN_SECONDS
                if stop_at is None:
                    self._claim(run)
                    self._leave_paused(run)
                    self._start(run)
                elif time.monotonic() >= stop_at:
                    break
                self._perform(run)
                self._record(run)
                if run.in_flight:
                    self._multi.select(min(self._wait(), _poll_seconds()))
                elif stop_at is not None:
                    break
                elif not self._has_more(run):
                    if not stays:
                        break
                    time.sleep(_until_next_look())
                    run.next_poll_at = 0.0
        finally:
            try:
                self._record(run, everything=True)
            finally:
                self._give_back(run)
                self._forget_quiet()
        return run.finished

    def _forget_quiet(self) -> None:
        self._origins.forget_quiet()
        now = time.monotonic()
        self._next_expiry = {origin: at for origin, at in self._next_expiry.items() if at > now}
        self._behind.clear()

    def _has_more(self, run: _Run) -> bool:
        if run.waiting_count or run.more_may_be_due or run.expiring:
            return True
        return any(self._origins.room(origin) for origin in self._origins.crowded())

    def _claim(self, run: _Run) -> None:
        """Reads ahead by a window at most, so that no claim waits here for long while its lease runs."""
        now = time.monotonic()
        crowded = self._origins.crowded()
        # What waits for a crowded origin's turn is no reason to look for nothing else.
        waiting = run.waiting_count - sum(len(run.waiting.get(origin, ())) for origin in crowded)
        if waiting * 2 < self._config.window and (run.more_may_be_due or now >= run.next_poll_at):
            limit = len(self._idle) + self._config.window - waiting
            if not run.has_begun:
                limit = min(limit, _FIRST_CLAIM)
            claims = self._claim_beside(run, crowded, limit) if crowded else self._claim_due(limit)
            run.has_begun = run.has_begun or bool(claims)
            is_on_a_walk = bool(run.last_origin)
            run.more_may_be_due = len(claims) == limit or is_on_a_walk
            ended = time.monotonic()
            run.walked_for += ended - now
            if not is_on_a_walk:
                # A walk past many origins is made to its end, and not at once again.
                pause = run.walked_for if _rush_left() else 5 * run.walked_for
                run.next_poll_at = ended + min(max(_poll_seconds(), pause), _LONGEST_POLL_SECONDS)
                run.walked_for = 0.0
            self._take(run, claims)
        if now >= run.next_crowded_poll_at or not run.in_flight:
            run.next_crowded_poll_at = now + _POLL_SECONDS / 5
            for origin in self._origins.crowded():
                self._claim_of(run, origin)

    def _claim_beside(self, run: _Run, crowded: Sequence[str], limit: int) -> list[Claim]:
        """Claims for the others, some for each, however much is due for those that are crowded."""
        look = partial(queue.waiting_origins, after=run.last_origin, limit=_ORIGINS_AT_ONCE)
        run.last_origin = ""
        found: list[str] = _if_possible(look, otherwise=[])
        # One more than there is room for tells that there is more.
        of = {origin: self._origins.room(origin) + 1 for origin in found if origin not in crowded}
        claims = self._claim_due(limit, of=of) if of else []
        if len(claims) == limit:
            run.last_origin = max(claim.origin for claim in claims)
        elif len(found) == _ORIGINS_AT_ONCE:
            run.last_origin = found[-1]
        return claims

    def _claim_of(self, run: _Run, origin: str) -> None:
        """Claims for one origin that has more due than it may have under way."""
        held = len(run.waiting.get(origin, ()))
        ahead = self._ahead(origin)
        if held * 4 > ahead or not (ahead or self._origins.room(origin)):
            return
        limit = max(ahead, self._origins.room(origin)) - held
        claims = self._claim_due(limit, of={origin: limit})
        if len(claims) < limit:
            self._origins.uncrowd(origin)
        self._take(run, claims)

    def _ahead(self, origin: str) -> int:
        """How many claims may wait for an origin's turn: many where it answers, none where it is only being tried."""
        if self._origins.is_in_doubt(origin):
            return 0
        # Two windows in all, so that what waits here is soon begun, and is little.
        return max(self._origins.room(origin), self._config.window * 2 // max(1, len(self._origins.crowded())))

    def _claim_due(self, limit: int, *, of: Mapping[str, int] | None = None) -> list[Claim]:
        """Claims the oldest; where they are a queue from an outage, a part of the places goes to what is due now.

        Without the database there is nothing to claim, and what is in flight goes on.
        """
        claim = partial(queue.claim, lease=self._config.lease)
        # Each busy origin has a backlog of its own; all others share one.
        backlog = next(iter(of)) if of and len(of) == 1 else None
        due_now: list[Claim] = []
        if backlog in self._behind and (share := int(limit * _SHARE_DUE_NOW)):
            due_now = _if_possible(partial(claim, limit=share, of=of, no_later_than=_BEHIND), otherwise=due_now)
            if of is not None:
                taken = Counter(claim.origin for claim in due_now)
                of = {origin: most - taken[origin] for origin, most in of.items()}
        left = limit - len(due_now)
        oldest = _if_possible(partial(claim, limit=left, of=of), otherwise=due_now[:0])
        if len(oldest) == left and oldest[-1].lateness > _BEHIND:
            self._behind.add(backlog)
        else:
            self._behind.discard(backlog)
        return due_now + oldest

    def _take(self, run: _Run, claims: Sequence[Claim]) -> None:
        """Queues claims by origin, and gives back at once what goes beyond an origin's share."""
        surplus = []
        # Of each origin: its claims, how many may begin, and how many may wait for that.
        shares: dict[str, tuple[deque[Claim], int, int]] = {}
        for claim in claims:
            share = shares.get(claim.origin)
            if share is None:
                room = self._origins.room(claim.origin)
                line = run.waiting.get(claim.origin) or deque()
                share = shares[claim.origin] = (line, room, max(room, self._ahead(claim.origin)))
            line, room, most = share
            has_place = len(line) < most
            if has_place:
                line.append(claim)
                run.waiting[claim.origin] = line
                run.waiting_count += 1
            else:
                surplus.append(claim)
            if not has_place or len(line) > room:
                self._origins.crowd(claim.origin)
        _release(surplus)

    def _leave_paused(self, run: _Run) -> None:
        """Gives back what waits here for origins whose breaker is open, and ends what has waited there for too long."""
        run.expiring = False
        for origin, _ in self._origins.paused():
            held = run.waiting.pop(origin, None)
            if held:
                run.waiting_count -= len(held)
                _release(list(held))
            began = time.monotonic()
            if began >= self._next_expiry.get(origin, 0.0):
                expire = partial(queue.expire, origin=origin, limit=_EXPIRE_AT_ONCE)
                expired = _if_possible(expire, otherwise=0)
                run.expiring = run.expiring or expired == _EXPIRE_AT_ONCE
                # A look walks over all that is due for it.
                ended = time.monotonic()
                pause = 0.0 if expired == _EXPIRE_AT_ONCE else max(_EXPIRE_SECONDS, 50 * (ended - began))
                self._next_expiry[origin] = ended + pause

    def _start(self, run: _Run) -> None:
        """Begins what there is room for, one of each origin in turn."""
        lines = run.waiting
        while self._idle and lines:
            began = False
            for origin in list(lines):
                line = lines[origin]
                if not self._idle:
                    break
                if not self._origins.room(origin):
                    continue
                claim = line.popleft()
                run.waiting_count -= 1
                if not line:
                    del lines[origin]
                began = True
                self._start_or_finish(run, claim)
            if not began:
                break

    def _start_or_finish(self, run: _Run, claim: Claim) -> None:
        # A request must be over before its lease is; a process that was frozen may find that it is too late to begin.
        if time.monotonic() + self._timeout_of(claim) > claim.held_since + self._lease_seconds:
            _release([claim])
        elif claim.reason:
            self._finish(run, claim, State.CANCELLED, claim.reason)
        elif claim.skip:
            self._finish(run, claim, State.SKIPPED, claim.skip)
        else:
            self._start_one(run, claim)

    def _timeout_of(self, claim: Claim) -> float:
        """The schedule's own timeout or the server's, and in any case less than a lease; in seconds."""
        return min(claim.timeout or self._timeout_seconds, self._lease_seconds * 0.8)

    def _start_one(self, run: _Run, claim: Claim) -> None:
        transfer = self._idle.pop()
        started_at = datetime.now(UTC)
        try:
            request = build_request(claim, now=started_at)
            transfer.start(claim, request, started_at=started_at, timeout=self._timeout_of(claim))
            self._multi.add_handle(transfer.curl)
        except Exception as error:
            logger.exception("delivery_unsendable", delivery=str(claim.id))
            self._idle.append(transfer)
            self._finish(run, claim, State.FAILED, Reason.UNSENDABLE, record=_unsendable(claim, started_at, error))
            return
        self._busy.add(transfer)
        self._origins.begin(claim.origin)
        run.in_flight += 1

    def _perform(self, run: _Run) -> None:
        self._forgive_stall()
        while self._multi.perform()[0] == pycurl.E_CALL_MULTI_PERFORM:
            pass
        left = 1
        while left:
            left, succeeded, failed = self._multi.info_read()
            for curl in succeeded:
                self._end(run, curl.transfer, None)
            for curl, errno, _message in failed:
                self._end(run, curl.transfer, errno)
        # After the sockets have been read: what was answered while this process could not run has been answered.
        now = time.monotonic()
        if now < self._next_look_at:
            return
        self._next_look_at = now + _POLL_SECONDS
        for transfer in [each for each in self._busy if each.ends_at <= now or self._is_lost(each, now)]:
            if self._is_lost(transfer, now):
                self._abandon(run, transfer)
            else:
                self._end(run, transfer, pycurl.E_OPERATION_TIMEDOUT)

    def _forgive_stall(self) -> None:
        """Gives what is in flight the time back in which this process could not run: frozen, or without a database."""
        now = time.monotonic()
        if now - self._performed_at > _STALL_SECONDS:
            for transfer in self._busy:
                transfer.ends_at += now - max(self._performed_at, transfer.began_at)
        self._performed_at = now

    def _is_lost(self, transfer: Transfer, now: float) -> bool:
        """Whether its lease is over, and its delivery is another sender's by now; only a stall makes it so."""
        claim = transfer.claim
        return claim is not None and claim.held_since + self._lease_seconds <= now

    def _abandon(self, run: _Run, transfer: Transfer) -> None:
        """Ends it without an outcome: what became of it tells nothing of its receiver."""
        self._free(run, transfer)
        if transfer.claim is not None:
            self._origins.abandon(transfer.claim.origin)

    def _free(self, run: _Run, transfer: Transfer) -> None:
        """Takes it out of flight, to be used again."""
        self._multi.remove_handle(transfer.curl)
        self._busy.discard(transfer)
        self._idle.append(transfer)
        run.in_flight -= 1

    def _end(self, run: _Run, transfer: Transfer, errno: int | None) -> None:
        self._free(run, transfer)
        claim = transfer.claim
        assert claim is not None  # noqa: S101 (a busy transfer has one)
        result = transfer.result(errno)
        # A refused address tells nothing of the receiver.
        is_answered = result.status is not None or result.error == "blocked_address"
        if result.is_proxys_fault:
            self._origins.abandon(claim.origin)
        elif self._origins.end(claim.origin, is_answered=is_answered):
            logger.warning("breaker_opened", delivery=str(claim.id), error=result.error)
        self._judge(run, claim, result)

    def _judge(self, run: _Run, claim: Claim, result: Result) -> None:
        """Delivered, to be tried again, or failed: by CONTRACT, 2xx alone is success."""
        status = result.status
        if status is not None and 200 <= status < 300:
            self._finish(run, claim, State.DELIVERED, "", result)
            return
        if result.error == "blocked_address":
            self._finish(run, claim, State.FAILED, Reason.BLOCKED_ADDRESS, result)
            return
        if not is_retryable(status):
            self._finish(run, claim, State.FAILED, Reason.REJECTED, result)
            return
        delay = retry_delay(
            claim.attempt - claim.attempts_before,
            status=status,
            retry_after=timedelta(seconds=result.retry_after) if result.retry_after > 0 else None,
            delays=self._config.retry_delays,
        )
        if claim.attempt >= claim.max_attempts or delay is None:
            self._finish(run, claim, State.FAILED, Reason.RETRIES_EXHAUSTED, result)
            return
        self._finish(run, claim, State.PENDING, "", result, next_attempt_in=delay)

    def _finish(
        self,
        run: _Run,
        claim: Claim,
        state: State,
        reason: str,
        result: Result | None = None,
        *,
        next_attempt_in: timedelta | None = None,
        record: dict[str, object] | None = None,
    ) -> None:
        if state != State.DELIVERED and (state != State.PENDING or claim.attempt == 1):
            # Not every attempt, and neither the URL nor the answer, which may hold secrets: they stand in the ledger.
            logger.warning(
                "callback_not_delivered",
                delivery=str(claim.id),
                state=str(state),
                attempt=claim.attempt,
                reason=str(reason) or None,
                error=result.error if result else None,
                status=result.status if result else None,
                next_attempt_in_seconds=round(next_attempt_in.total_seconds()) if next_attempt_in else None,
            )
        if not run.outcomes:
            run.first_outcome_at = time.monotonic()
        run.outcomes.append(
            Outcome(
                id=claim.id,
                lease=claim.lease,
                state=state,
                reason=reason,
                retry_in=next_attempt_in,
                status=result.status if result else None,
                attempt=result.record if result else record,
            )
        )

    def _record(self, run: _Run, *, everything: bool = False) -> None:
        """Writes outcomes in batches; the last of them as soon as nothing is in flight."""
        due = (
            everything
            or not run.in_flight
            or len(run.outcomes) >= _RECORD_AT_ONCE
            or time.monotonic() - run.first_outcome_at >= _RECORD_WITHIN_SECONDS
        )
        if not run.outcomes or not due:
            return
        outcomes, run.outcomes = run.outcomes, []
        # Trying beyond the lease is of no use: the rows are somebody else's by then.
        _with_database(lambda: queue.record(outcomes), patience=self._lease_seconds)
        run.finished += len(outcomes)

    def _give_back(self, run: _Run) -> None:
        """Ends what is still in flight and returns every claim, so that another sender need not wait for the lease."""
        claims = [claim for queue in run.waiting.values() for claim in queue]
        for transfer in list(self._busy):
            self._free(run, transfer)
            if transfer.claim is not None:
                self._origins.abandon(transfer.claim.origin)
                claims.append(transfer.claim)
        _release(claims)

    def _wait(self) -> float:
        milliseconds = self._multi.timeout()
        return _POLL_SECONDS if milliseconds < 0 else milliseconds / 1000


def _since_rush_began() -> float:
    """The seconds since the latest rush around a whole second began; less than one."""
    return (time.time() + _RUSH_BEFORE) % 1.0


def _rush_left() -> float:
    """The seconds until the rush around a whole second is over; 0 between two of them."""
    return max(0.0, _RUSH_BEFORE + _RUSH_AFTER - _since_rush_began())


def _until_next_look() -> float:
    """How long to sleep in a rush: when the second begins, the next look comes at once."""
    left = 1.0 - time.time() % 1.0
    return left if left <= 2 * _RUSH_POLL_SECONDS else _RUSH_POLL_SECONDS


def _poll_seconds() -> float:
    """How long to wait before the next look for new work, while requests are under way."""
    return _RUSH_POLL_SECONDS if _rush_left() else min(_POLL_SECONDS, 1.0 - _since_rush_began())


def _unsendable(claim: Claim, started_at: datetime, error: Exception) -> dict[str, object]:
    return {
        "number": claim.attempt,
        "started_at": started_at.isoformat(),
        "status": None,
        "error": "unsendable",
        "message": f"The request could not be made ({type(error).__name__}).",
    }


def _release(claims: Sequence[Claim]) -> None:
    """Gives claims back. Those that cannot be given back now are free when their lease ends."""
    if claims:
        _if_possible(partial(queue.release, claims), otherwise=None)


def _if_possible(work: Callable[[], T], *, otherwise: T) -> T:
    """Does `work`. Where the database does not let us, that is logged, and what is in flight goes on."""
    try:
        return _with_database(work, patience=0)
    except Error as error:
        if not is_away(error):
            raise
        log_away(error)
        return otherwise


def _with_database(work: Callable[[], T], *, patience: float) -> T:
    """Does `work`; where the connection turns out broken, with a new one, for `patience` seconds and at least once."""
    give_up_at = time.monotonic() + patience
    tries = 0
    while True:
        try:
            return work()
        except Error as error:
            if not is_away(error):
                raise
            # A connection that a restarted server closed stays broken until Django is told to look at it.
            close_old_connections()
            tries += 1
            if tries > 1 and time.monotonic() >= give_up_at:
                raise
            if tries > 1:
                time.sleep(_RECONNECT_SECONDS)


@cache
def process_sender() -> Sender:
    """This process's sender, by the settings; made on first use, after the worker has forked."""
    return Sender(
        SenderSettings(
            window=settings.DELIVERY_WINDOW,
            timeout=settings.CALLBACK_TIMEOUT,
            lease=settings.DELIVERY_LEASE,
            retry_delays=settings.DELIVERY_RETRY_DELAYS,
            guard=address_guard(),
            proxy=settings.CALLBACK_PROXY,
            origins=OriginSettings(most=settings.DELIVERY_ORIGIN_LIMIT, first=min(10, settings.DELIVERY_ORIGIN_LIMIT)),
        )
    )
