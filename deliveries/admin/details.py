"""Builds the part of a delivery's page below its fields: the attempts and the body, without secrets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.utils.safestring import SafeString

from commands_platform.operators import html
from deliveries.masking import shown_attempts, without_secrets
from deliveries.models import Delivery

_GLANCE_LENGTH = 100


def attempt_rows(delivery: Delivery) -> list[dict[str, Any]]:
    """Returns the attempts for the table, the latest first. A value that is missing in a record is left empty."""
    return [_attempt_row(record) for record in reversed(shown_attempts(delivery))]


def body_block(delivery: Delivery) -> SafeString | None:
    """Returns the stored body, indented and without secrets, or None if the delivery has no body."""
    if not delivery.body:
        return None
    try:
        text = json.dumps(json.loads(delivery.body), ensure_ascii=False, indent=2)
    except ValueError:
        text = delivery.body
    return html.block(without_secrets(text, delivery))


def _attempt_row(record: Mapping[str, Any]) -> dict[str, Any]:
    response = str(record.get("response") or "")
    status, error = record.get("status"), record.get("error")
    is_success = isinstance(status, int) and 200 <= status < 300
    return {
        "number": record.get("number"),
        "started_at": html.instant(_parsed(record.get("started_at"))),
        "outcome": html.badge(status or error or "?", "success" if is_success else "danger"),
        "cause": record.get("message") or "",
        "total": _milliseconds(record.get("total_ms")),
        "phases": _phases(record),
        "address": html.mono(record.get("address") or ""),
        "glance": response[:_GLANCE_LENGTH],
        "response": html.block(response) if len(response) > _GLANCE_LENGTH else None,
    }


def _phases(record: Mapping[str, Any]) -> str:
    names = (("dns", "dns_ms"), ("connect", "connect_ms"), ("tls", "tls_ms"), ("first byte", "first_byte_ms"))
    return ", ".join(f"{name} {_milliseconds(record[key])}" for name, key in names if record.get(key))


def _milliseconds(value: object) -> str:
    if not isinstance(value, int | float):
        return ""
    return f"{value:.0f} ms" if value >= 10 else f"{value:.1f} ms"


def _parsed(text: object) -> datetime | None:
    try:
        return datetime.fromisoformat(str(text))
    except ValueError:
        return None
