"""Logs what became of callbacks.

A line names the schedule or event and the receiver's origin. It never holds the URL's path or query, the payload or the
answer, because they may hold secrets. Those are in the ledger.
"""

from __future__ import annotations

from typing import Any

import orjson
import structlog

from deliveries.models import Kind, State
from deliveries.queue import Claim
from deliveries.transfer import Result
from deliveries.verdict import Verdict

logger = structlog.get_logger(__name__)


def log_callback(claim: Claim, verdict: Verdict, result: Result | None, *, logs_all: bool) -> None:
    """Logs the outcome of an attempt.

    Without `logs_all` it logs only the first and the last failure of a delivery. At thousands of callbacks a second,
    a line for each would cost more than sending it.
    """
    is_delivered = verdict.state == State.DELIVERED
    if not logs_all and (is_delivered or (verdict.state == State.PENDING and claim.attempt > 1)):
        return
    facts: dict[str, Any] = {
        **(_subject(claim) if logs_all else {}),
        "origin": claim.origin,
        "status": result.status if result else None,
        "error": str(result.error) if result and result.error else None,
        "attempt": claim.attempt,
        "duration_ms": _duration(result),
        "reason": str(verdict.reason) or None,
        "retry_in_seconds": round(verdict.retry_in.total_seconds(), 1) if verdict.retry_in else None,
        "delivery": str(claim.id),
        "correlation_id": claim.correlation_id,
    }
    if is_delivered:
        logger.info("callback_delivered", **facts)
    elif verdict.state == State.PENDING:
        logger.warning("callback_will_be_retried", **facts)
    else:
        logger.warning("callback_not_delivered", state=str(verdict.state), **facts)


def _subject(claim: Claim) -> dict[str, str]:
    """Returns the name of the schedule or of the event that the callback is about."""
    if claim.kind != Kind.EVENT:
        return {"schedule": claim.schedule_name or ""}
    try:
        content = orjson.loads(claim.body)
    except orjson.JSONDecodeError:
        return {}
    return {"event_name": str(content["event"])} if isinstance(content, dict) and "event" in content else {}


def _duration(result: Result | None) -> int | None:
    timings = result.attempt.timings if result else None
    return round(timings.total / 1000) if timings else None
