"""The sender: a plain loop over one libcurl multi handle, with a sliding window of transfers in flight.

It claims under a lease, sends and records, with no barrier between the three, so a slow receiver delays nobody else.
The handles and their connections stay open between runs.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache, partial

import pycurl
import structlog
from django.conf import settings

from commands_platform.lib.database.availability import unless_away
from deliveries import hold_ups, outcomes
from deliveries.attempts import Attempt
from deliveries.callback import build_request
from deliveries.callback_log import log_callback
from deliveries.intake import Intake, release
from deliveries.lanes import Lanes, LaneSettings
from deliveries.models import AttemptError, Reason, State
from deliveries.outcomes import Outcome
from deliveries.pacing import POLL_SECONDS, poll_seconds, rush_left, until_next_look
from deliveries.queue import Claim
from deliveries.recording import LOCKED_RETRY_SECONDS, Recording
from deliveries.resolving import UNRESOLVABLE, Resolving
from deliveries.retry_policy import TOO_MANY_REQUESTS, hold_of
from deliveries.sender_run import SenderRun
from deliveries.sender_settings import SenderSettings
from deliveries.transfer import Result, Transfer
from deliveries.verdict import Verdict, judge
from deliveries.way_out import WayOut, host_of
from outbound.guard import address_guard
from outbound.resolver import Resolver
from processes.standing import this_process

logger = structlog.get_logger(__name__)

_STOP_WITHIN_SECONDS = 3.0
# The loop runs many times a second. A longer time between two rounds is not the fault of a receiver.
_STALL_SECONDS = 0.5
# Crashes and deploys may lose this many claims beyond a row's attempts. After that, the row is taken for their cause.
MAX_LOST_CLAIMS = 3
# A request that we ended is made again at once.
_INTERRUPTED = Verdict(State.PENDING, retry_in=timedelta(0))


class Sender:
    """Sends due deliveries. Each process has one, which one thread at a time uses."""

    def __init__(self, config: SenderSettings) -> None:
        self._config = config
        self._lease_seconds = config.lease.total_seconds()
        self._lanes = Lanes(config.lanes, window=config.window)
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_MAXCONNECTS, config.window * 2)
        self._idle = [Transfer(config.guard, config.proxy) for _ in range(config.window)]
        self._busy: set[Transfer] = set()
        self._resolving = Resolving(None if config.proxy else Resolver(config.look_up))
        self._way_out = WayOut()
        self._suspects_from = time.monotonic() + config.suspects_after.total_seconds()
        self._performed_at = self._next_look_at = 0.0

    def drain(self, *, should_stop: Callable[[], bool] = lambda: False, stays_in_rush: bool = True) -> int:
        """Sends until nothing is due and nothing is in flight. Returns the number of deliveries recorded.

        If it was woken around a whole second and `stays_in_rush`, it also waits for more deliveries of that second.
        When `should_stop` turns true, it claims no more, waits a few seconds for requests in flight, and releases the
        rest.
        """
        run = self._begin_run()
        stop_at: float | None = None
        stay_until = time.monotonic() + (rush_left() if stays_in_rush else 0.0)
        try:
            while True:
                stays = time.monotonic() < stay_until
                if stop_at is None and should_stop():
                    stop_at = time.monotonic() + _STOP_WITHIN_SECONDS
                may_begin = self._may_begin(run) and stop_at is None
                if may_begin:
                    run.intake.claim(idle=len(self._idle), in_flight=run.in_flight)
                    run.intake.leave_paused()
                    self._start(run)
                elif stop_at is not None and time.monotonic() >= stop_at:
                    break
                self._perform(run)
                run.recording.write_due(is_idle=not run.in_flight)
                self._release_left(run)
                if not self._wait(run, may_begin=may_begin, stays=stays):
                    break
        finally:
            try:
                run.recording.write_all()
            finally:
                self._give_back(run)
        return run.recording.finished

    def _begin_run(self) -> SenderRun:
        standing = self._config.standing
        intake = Intake(self._lanes, window=self._config.window, lease=self._config.lease, holder=standing.id)
        recording = Recording(way_out=self._way_out, patience=self._lease_seconds)
        return SenderRun(intake, recording, alive_since=standing.alive_since())

    def _may_begin(self, run: SenderRun) -> bool:
        """Returns whether others know that this process is alive, so that they leave its claims alone.

        If they may have taken it for dead, everything that was not sent is given up.
        """
        alive_since = self._config.standing.alive_since()
        if alive_since != run.alive_since:
            run.alive_since = alive_since
            run.left += run.intake.give_up()
            for transfer in list(self._busy):
                if transfer.claim is not None and not transfer.may_have_sent():
                    self._abandon(run, transfer)
                    run.left.append(transfer.claim)
        return alive_since < math.inf

    def _release_left(self, run: SenderRun) -> None:
        # While the database is away, this would only take time.
        if run.left and run.alive_since < math.inf:
            left, run.left = run.left, []
            release(left)

    def _start(self, run: SenderRun) -> None:
        """Begins as many requests as there is room for."""
        if run.intake.suspects:
            self._start_suspects(run)
        if not self._idle:
            return
        for claim in run.intake.next_claims(lambda: run.large_bytes_in_flight):
            self._start_or_finish(run, claim)
            if not self._idle:
                return

    def _start_suspects(self, run: SenderRun) -> None:
        """Begins a few requests that may kill this process. They come first, or a busy lane would never have room."""
        for claim in run.intake.suspects.take_out(run.recording.locked):
            self._start_or_finish(run, claim)
        if not self._idle or time.monotonic() < self._suspects_from:
            return
        for claim in run.intake.suspects.next_claims([transfer.claim for transfer in self._busy]):
            # Outcomes are written first, because the request may kill this process.
            run.recording.write_all()
            if held := unless_away(partial(outcomes.note_begin, claim), otherwise=None):
                self._start_or_finish(run, held)
            if not self._idle:
                break

    def _start_or_finish(self, run: SenderRun, claim: Claim) -> None:
        if not self._holds(claim):
            run.left.append(claim)
        elif claim.id in run.recording.locked:
            # It was already sent, so its outcome is written under the new lease.
            run.recording.keep_under_new_lease(claim.id, claim.lease)
        elif claim.reason:
            self._finish(run, claim, Verdict(State.CANCELLED, claim.reason))
        elif claim.attempt > claim.max_attempts + MAX_LOST_CLAIMS:
            self._finish(run, claim, Verdict(State.FAILED, Reason.POISON))
        elif claim.skip:
            self._finish(run, claim, Verdict(State.SKIPPED, claim.skip))
        else:
            self._start_one(run, claim)

    def _holds(self, claim: Claim) -> bool:
        """Returns whether the claim is surely ours until its request ends. After a freeze it may not be."""
        ends_at = time.monotonic() + self._timeout_of(claim)
        return (
            ends_at <= claim.held_since + self._lease_seconds
            and claim.held_since >= self._config.standing.alive_since()
        )

    def _timeout_of(self, claim: Claim) -> float:
        """Returns the schedule's own timeout or the server's, in seconds. It is always shorter than a lease."""
        return min(claim.timeout or self._config.timeout.total_seconds(), self._lease_seconds * 0.8)

    def _start_one(self, run: SenderRun, claim: Claim) -> None:
        transfer = self._idle.pop()
        transfer.begin(claim, started_at=datetime.now(UTC), timeout=self._timeout_of(claim))
        self._busy.add(transfer)
        self._lanes.begin(claim.lane)
        run.in_flight += 1
        run.large_bytes_in_flight += claim.size if claim.is_large else 0
        addresses = self._resolving.addresses_of(claim)
        if addresses is None:
            self._resolving.wait(transfer, claim)
        else:
            self._send(run, transfer, claim, addresses)

    def _send(self, run: SenderRun, transfer: Transfer, claim: Claim, addresses: str) -> None:
        if addresses == UNRESOLVABLE:
            self._end(run, transfer, pycurl.E_COULDNT_RESOLVE_HOST)
            return
        try:
            transfer.send(build_request(claim, now=datetime.now(UTC)), addresses=addresses)
            self._multi.add_handle(transfer.curl)
        except Exception as error:
            logger.exception("delivery_unsendable", delivery=str(claim.id))
            self._abandon(run, transfer)
            unsendable = Verdict(State.FAILED, Reason.UNSENDABLE)
            self._finish(run, claim, unsendable, attempt=transfer.unsendable(error))

    def _perform(self, run: SenderRun) -> None:
        self._forgive_stall()
        for waited in self._resolving.resolved():
            self._send(run, *waited)
        while self._multi.perform()[0] == pycurl.E_CALL_MULTI_PERFORM:
            pass
        left = 1
        while left:
            left, succeeded, failed = self._multi.info_read()
            for curl in succeeded:
                self._end(run, curl.transfer, None)
            for curl, errno, _message in failed:
                self._end(run, curl.transfer, errno)
        # Checked after the sockets are read, so that answers that came while this process could not run still count.
        now = time.monotonic()
        if now < self._next_look_at:
            return
        self._next_look_at = now + POLL_SECONDS
        for transfer in [each for each in self._busy if each.is_late(now) or self._is_lost(each, now)]:
            if self._is_lost(transfer, now):
                self._abandon(run, transfer)
            elif (claim := self._resolving.in_line(transfer)) is not None:
                # The lookup of its name has not begun, and neither has the attempt.
                self._abandon(run, transfer)
                run.left.append(claim)
            else:
                self._end(run, transfer, pycurl.E_OPERATION_TIMEDOUT)

    def _forgive_stall(self) -> None:
        """Extends the transfers by the time in which this process was frozen or without a database."""
        now = time.monotonic()
        if now - self._performed_at > _STALL_SECONDS:
            for transfer in self._busy:
                transfer.held_up_for += now - max(self._performed_at, transfer.began_at)
        self._performed_at = now

    def _is_lost(self, transfer: Transfer, now: float) -> bool:
        """Returns whether its lease has ended, so that another sender may have its delivery. That needs a stall."""
        claim = transfer.claim
        return claim is not None and claim.held_since + self._lease_seconds <= now

    def _abandon(self, run: SenderRun, transfer: Transfer) -> None:
        """Ends the transfer without an outcome, because it says nothing about the receiver."""
        self._free(run, transfer)
        if transfer.claim is not None:
            self._lanes.abandon(transfer.claim.lane)

    def _free(self, run: SenderRun, transfer: Transfer) -> None:
        """Takes the transfer out of flight, so that it can be used again."""
        if transfer.curl in self._multi:
            self._multi.remove_handle(transfer.curl)
        self._resolving.stop_waiting(transfer)
        self._busy.discard(transfer)
        self._idle.append(transfer)
        run.in_flight -= 1
        if transfer.claim is not None and transfer.claim.is_large:
            run.large_bytes_in_flight -= transfer.claim.size

    def _end(self, run: SenderRun, transfer: Transfer, errno: int | None) -> None:
        result = transfer.result(errno)
        if transfer.held_up_for >= hold_ups.MIN_HOLD_UP_SECONDS and hold_ups.may_be_ours(result):
            self._interrupt(run, transfer)
            return
        self._free(run, transfer)
        claim = transfer.claim
        assert claim is not None  # noqa: S101 (a busy transfer has one)
        self._note_reach(claim, result)
        # A refused address says nothing about the receiver, so it does not count as a failure.
        is_answered = result.status is not None or result.error == AttemptError.BLOCKED_ADDRESS
        if result.is_proxys_fault:
            self._lanes.abandon(claim.lane)
        elif self._lanes.end(claim.lane, is_answered=is_answered):
            logger.warning("breaker_opened", origin=claim.origin, error=str(result.error), delivery=str(claim.id))
        if result.status == TOO_MANY_REQUESTS:
            hold = hold_of(timedelta(seconds=result.retry_after))
            self._lanes.slow_down(claim.lane, hold=hold.total_seconds())
        verdict = judge(
            status=result.status,
            error=result.error,
            retry_after=result.retry_after,
            attempt=claim.attempt,
            attempts_before=claim.attempts_before,
            max_attempts=claim.max_attempts,
            delays=self._config.retry_delays,
        )
        self._finish(run, claim, verdict, result)
        transfer.forget()

    def _note_reach(self, claim: Claim, result: Result) -> None:
        """Notes what the attempt tells about the way to all receivers."""
        if hold_ups.may_be_ours(result):
            self._way_out.note_failure(host_of(claim.origin))
        elif result.status is not None and (hosts := self._way_out.note_answer(host_of(claim.origin))):
            self._lanes.forgive(lambda lane: host_of(lane.origin) in hosts)

    def _interrupt(self, run: SenderRun, transfer: Transfer) -> None:
        """Ends an attempt that says nothing about its receiver. It counts only if it may have been sent."""
        self._abandon(run, transfer)
        claim = transfer.claim
        assert claim is not None  # noqa: S101 (a busy transfer has one)
        result = transfer.result(None, is_interrupted=True) if transfer.may_have_sent() else None
        self._finish(run, claim, _INTERRUPTED, result)
        transfer.forget()

    def _finish(
        self,
        run: SenderRun,
        claim: Claim,
        verdict: Verdict,
        result: Result | None = None,
        *,
        attempt: Attempt | None = None,
    ) -> None:
        outcome = Outcome(
            id=claim.id,
            lease=claim.lease,
            state=verdict.state,
            reason=verdict.reason,
            retry_in=verdict.retry_in,
            status=result.status if result else None,
            attempt=result.attempt if result else attempt,
            if_held_up=hold_ups.interrupted(claim, result),
        )
        if outcome.if_held_up is None or not self._way_out.is_gone:
            log_callback(claim, verdict, result, logs_all=self._config.logs_callbacks)
        run.recording.keep(outcome)

    def _give_back(self, run: SenderRun) -> None:
        """Ends requests in flight and releases every claim, so that other senders need not wait for leases to end.

        A request that may have reached its receiver is an attempt. It is recorded, and its repeat stays spent.
        """
        claims = [*run.left, *run.intake.give_up()]
        for transfer in list(self._busy):
            if transfer.is_answered():
                self._end(run, transfer, pycurl.E_OPERATION_TIMEDOUT)
            else:
                self._interrupt(run, transfer)
        run.recording.write_last()
        release(claims)

    def _wait(self, run: SenderRun, *, may_begin: bool, stays: bool) -> bool:
        """Waits for something to do, if there is nothing. Returns whether the run goes on."""
        if run.in_flight > len(self._resolving):
            self._multi.select(self._seconds_to_sleep())
        elif run.in_flight:
            time.sleep(self._seconds_to_sleep())
        elif run.recording.locked:
            time.sleep(LOCKED_RETRY_SECONDS)
        elif not may_begin:
            return False
        elif run.intake.suspects or run.intake.is_giving_way():
            time.sleep(poll_seconds())
            run.intake.look_at_once()
        elif not run.intake.has_more():
            if not stays:
                return False
            time.sleep(until_next_look())
            run.intake.look_at_once()
        return True

    def _seconds_to_sleep(self) -> float:
        """Returns how long the loop may sleep if nothing happens."""
        milliseconds = self._multi.timeout()
        longest = min(poll_seconds(), self._resolving.poll_seconds())
        return longest if milliseconds < 0 else min(milliseconds / 1000, longest)


@cache
def process_sender() -> Sender:
    """Returns this process's sender, made from the settings on first use, after the worker has forked."""
    return Sender(
        SenderSettings(
            window=settings.DELIVERY_WINDOW,
            timeout=settings.CALLBACK_TIMEOUT,
            lease=settings.DELIVERY_LEASE,
            retry_delays=settings.DELIVERY_RETRY_DELAYS,
            guard=address_guard(),
            proxy=settings.CALLBACK_PROXY,
            logs_callbacks=settings.LOG_CALLBACKS,
            standing=this_process,
            suspects_after=timedelta(seconds=3),
            lanes=LaneSettings(most=settings.DELIVERY_ORIGIN_LIMIT, first=min(10, settings.DELIVERY_ORIGIN_LIMIT)),
        )
    )
