"""Receivers send back what they were sent: what lets anybody act or sign as a command is neither kept nor shown."""

from __future__ import annotations

import re
from collections.abc import Iterable

from deliveries.custom_headers import header_values
from deliveries.models import Delivery

REMOVED = "[removed]"

# An exchange token, a webhook-signature, a signing secret, an API key: wherever they are from.
_SECRETS = re.compile(r"cmdt_[\w-]{40,}|v1,[A-Za-z0-9+/]{43}=|whsec_[A-Za-z0-9+/=_-]+|cmdp_[0-9A-Za-z]{8}_[0-9A-Za-z]+")
# A header's value that is shorter is no secret, and may stand anywhere in a text.
_SHORTEST_HEADER_SECRET = 6


def remove_secrets(text: str, *, secrets: Iterable[str], headers: str) -> str:
    """The text without tokens, signatures, keys, these secrets, and these headers' values (a JSON object, or "")."""
    values = header_values(headers)
    own = (*secrets, *(value for value in values if len(value) >= _SHORTEST_HEADER_SECRET))
    # The longest first: one may be part of another.
    for secret in sorted(filter(None, own), key=len, reverse=True):
        text = text.replace(secret, REMOVED)
    return _SECRETS.sub(REMOVED, text)


def without_secrets(text: str, delivery: Delivery) -> str:
    """The text as it may be shown with this delivery."""
    command = delivery.command
    own = (command.signature, command.signing_secret, command.previous_signing_secret)
    return remove_secrets(text, secrets=own, headers=delivery.headers)


def shown_attempts(delivery: Delivery) -> list[dict[str, object]]:
    """The records of its attempts, the first one first, with their texts made safe to show."""
    return [
        {key: without_secrets(value, delivery) if isinstance(value, str) else value for key, value in record.items()}
        for record in delivery.attempts
    ]
