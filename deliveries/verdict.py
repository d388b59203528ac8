"""Judges an attempt by its answer: the delivery is delivered, is retried later, or has failed. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple

from deliveries.models import AttemptError, Reason, State
from deliveries.retry_policy import GONE_STATUS, is_retryable, retry_delay

# The delivery keeps its URL, so a retry would fail in the same way.
_FINAL_ERRORS = {
    AttemptError.BLOCKED_ADDRESS: Reason.BLOCKED_ADDRESS,
    AttemptError.INVALID_URL: Reason.UNSENDABLE,
}


class Verdict(NamedTuple):
    """The delivery's next state, the reason, and the wait before its next attempt if there is one."""

    state: State
    reason: str = ""
    retry_in: timedelta | None = None


def judge(
    *,
    status: int | None,
    error: AttemptError | None,
    retry_after: int,
    attempt: int,
    attempts_before: int,
    max_attempts: int,
    delays: Sequence[timedelta],
) -> Verdict:
    """Returns the verdict on a delivery whose attempt was answered with `status`, or ended with `error`.

    Only 2xx is a success. `retry_after` is the wait that the receiver asked for, in seconds, or 0.
    """
    if status is not None and 200 <= status < 300:
        return Verdict(State.DELIVERED)
    if error in _FINAL_ERRORS:
        return Verdict(State.FAILED, _FINAL_ERRORS[error])
    if status == GONE_STATUS:
        return Verdict(State.FAILED, Reason.GONE)
    if not is_retryable(status):
        return Verdict(State.FAILED, Reason.REJECTED)
    delay = retry_delay(
        attempt - attempts_before,
        status=status,
        retry_after=timedelta(seconds=retry_after) if retry_after > 0 else None,
        delays=delays,
    )
    if attempt >= max_attempts or delay is None:
        return Verdict(State.FAILED, Reason.RETRIES_EXHAUSTED)
    return Verdict(State.PENDING, retry_in=delay)
