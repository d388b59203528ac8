"""Builds the part of a delivery's page below its fields: the attempts and the body, without secrets."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from django.utils.safestring import SafeString

from commands_platform.operators import html
from deliveries.attempts import Attempt, Timings
from deliveries.bodies import whole_body
from deliveries.masking import shown_attempts, without_secrets
from deliveries.models import Delivery

_GLANCE_LENGTH = 100


def attempt_rows(delivery: Delivery) -> list[dict[str, Any]]:
    """Returns the attempts for the table, the latest first."""
    return [_attempt_row(attempt) for attempt in reversed(shown_attempts(delivery))]


def body_block(delivery: Delivery) -> SafeString | None:
    """Returns the whole body, indented and without secrets, or None if the delivery has no body."""
    text = whole_body(delivery)
    if not text:
        return None
    with suppress(ValueError):
        text = json.dumps(json.loads(text), ensure_ascii=False, indent=2)
    return html.block(without_secrets(text, delivery))


def _attempt_row(attempt: Attempt) -> dict[str, Any]:
    response, timings = attempt.response, attempt.timings
    is_success = attempt.status is not None and 200 <= attempt.status < 300
    return {
        "number": attempt.number,
        "started_at": html.instant(attempt.started_at),
        "outcome": html.badge(attempt.status or attempt.error or "?", "success" if is_success else "danger"),
        "cause": attempt.message,
        "total": _milliseconds(timings.total) if timings else "",
        "phases": _phases(timings) if timings else "",
        "address": html.mono(attempt.address or ""),
        "glance": response[:_GLANCE_LENGTH],
        "response": html.block(response) if len(response) > _GLANCE_LENGTH else None,
    }


def _phases(timings: Timings) -> str:
    parts = {"dns": timings.dns, "connect": timings.connect, "tls": timings.tls, "first byte": timings.first_byte}
    return ", ".join(f"{name} {_milliseconds(microseconds)}" for name, microseconds in parts.items() if microseconds)


def _milliseconds(microseconds: int) -> str:
    value = microseconds / 1000
    return f"{value:.0f} ms" if value >= 10 else f"{value:.1f} ms"
