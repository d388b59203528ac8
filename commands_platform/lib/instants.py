"""Writes instants in ISO 8601 in UTC with `Z`, and with fractional seconds only if they are not zero."""

from __future__ import annotations

from datetime import UTC, datetime


def format_instant(instant: datetime) -> str:
    """Returns `2026-02-25T12:00:00Z` or `2026-02-25T12:00:00.250000Z`. Raises ValueError for a naive datetime."""
    if instant.tzinfo is None:
        raise ValueError("A naive datetime is not an instant.")
    if instant.tzinfo is not UTC:
        instant = instant.astimezone(UTC)
    return instant.isoformat().removesuffix("+00:00") + "Z"
