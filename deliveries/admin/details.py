"""What a delivery's page shows below its fields: its attempts and its body, without secrets."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from django.utils.safestring import SafeString

from commands_platform.operators import html
from deliveries.models import Delivery
from organizations.models import Command

# What a receiver may send back of what it was sent: an exchange token, a webhook-signature; and keys, wherever from.
# Each run of letters is tried once, and from its start: a long one must not cost the square of its length.
_SECRETS = re.compile(
    r"(?<![\w-])[\w-]{10,}+:[0-9A-Za-z]{5,8}:[\w-]{43}|v1,[A-Za-z0-9+/]{43}=|whsec_[A-Za-z0-9+/=_-]+"
    r"|cmdp_[0-9A-Za-z]{8}_[0-9A-Za-z]+",
    re.ASCII,
)
_REMOVED = "[removed]"
_RESPONSE_AT_A_GLANCE = 100


def attempt_rows(delivery: Delivery) -> list[dict[str, Any]]:
    """The attempts for their table, the latest first; whatever a record lacks is left empty."""
    return [
        _attempt_row(record, delivery.command) for record in reversed(delivery.attempts) if isinstance(record, dict)
    ]


def body_block(delivery: Delivery) -> SafeString | None:
    """The body as it is stored, indented; None where nothing was to be sent."""
    if not delivery.body:
        return None
    try:
        text = json.dumps(json.loads(delivery.body), ensure_ascii=False, indent=2)
    except ValueError:
        text = delivery.body
    return html.block(_without_secrets(text, delivery.command))


def _attempt_row(record: Mapping[str, Any], command: Command) -> dict[str, Any]:
    response = _without_secrets(str(record.get("response") or ""), command)
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
        "glance": response[:_RESPONSE_AT_A_GLANCE],
        "response": html.block(response) if len(response) > _RESPONSE_AT_A_GLANCE else None,
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


def _without_secrets(text: str, command: Command) -> str:
    """The text without what lets anybody act or sign as the command: receivers send back what they were sent."""
    own: Iterable[str] = (command.signature, command.signing_secret, command.previous_signing_secret)
    for secret in filter(None, own):
        text = text.replace(secret, _REMOVED)
    return _SECRETS.sub(_REMOVED, text)
