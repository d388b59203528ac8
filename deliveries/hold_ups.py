"""Tells failures of receivers from failures of our own network.

When a host loses its network, its requests fail as if their receivers were down. The database does not answer either,
so the sender is held up. If an attempt has no answer and the sender was held up meanwhile, nobody knows whose fault
that is, so it does not count as a failure. The delivery is sent again at once, because a sender that can claim it has
a network.

If only the way to the receivers is gone (see `way_out`), attempts do not count either. The delivery is then sent again
a little later.
"""

from __future__ import annotations

import time
from datetime import timedelta

from commands_platform.lib.database.availability import retry_while_away
from commands_platform.lib.database.statements import execute
from deliveries.models import AttemptError, State
from deliveries.outcomes import Outcome
from deliveries.queue import Claim
from deliveries.transfer import Result
from deliveries.way_out import WayOut

# A statement takes this long only if the database is out of reach, or close to a standstill.
MIN_HOLD_UP_SECONDS = 2.0

# While no receiver can be reached, each try costs a claim.
_RETRY_WITHOUT_WAY_OUT = timedelta(seconds=5)

# Errors that a request may have because of our own network.
_MAY_BE_OURS = frozenset(
    {AttemptError.DNS, AttemptError.REFUSED, AttemptError.TIMEOUT, AttemptError.RESET, AttemptError.PROXY}
)


def may_be_ours(result: Result) -> bool:
    """Returns whether our own network may be the reason why there is no answer."""
    return result.error in _MAY_BE_OURS


def interrupted(claim: Claim, result: Result | None) -> Outcome | None:
    """Returns what to record instead of the result if our own network was gone, or None if that changes nothing."""
    if result is None or not may_be_ours(result):
        return None
    error = AttemptError.INTERRUPTED
    # An attempt that was not sent does not count at all.
    attempt = result.attempt._replace(error=error, message=str(error.label)) if result.may_have_been_sent else None
    return Outcome(claim.id, claim.lease, State.PENDING, retry_in=timedelta(0), attempt=attempt)


def excuse(outcomes: list[Outcome], *, way_out: WayOut, patience: float) -> list[Outcome]:
    """Returns the outcomes as they are to be recorded, with missing answers excused if our own network was gone.

    It asks the database only if an answer is missing, and then waits until it answers, for up to `patience` seconds.
    Raises OperationalError if it does not answer.
    """
    if not any(outcome.if_held_up for outcome in outcomes):
        return outcomes
    if way_out.is_gone:
        retry_in = _RETRY_WITHOUT_WAY_OUT
        return [each.if_held_up._replace(retry_in=retry_in) if each.if_held_up else each for each in outcomes]
    began = time.monotonic()
    retry_while_away(lambda: execute("SELECT 1", {}), patience=patience)
    if time.monotonic() - began < MIN_HOLD_UP_SECONDS:
        return outcomes
    return [outcome.if_held_up or outcome for outcome in outcomes]
