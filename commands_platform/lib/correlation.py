"""The correlation id of the request that is being handled. Every log line of the request has it."""

from __future__ import annotations

from structlog.contextvars import get_contextvars


def current_correlation_id() -> str | None:
    """Returns the correlation id, or None outside of requests."""
    found: str | None = get_contextvars().get("correlation_id")
    return found
