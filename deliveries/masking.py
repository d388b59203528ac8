"""Removes secrets from texts of receivers, which may send back what they were sent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from commands_platform.lib.masking import REMOVED, mask_secrets
from deliveries.attempts import Attempt
from deliveries.custom_headers import header_values
from deliveries.models import Delivery

# A shorter header value is hardly a secret, and removing it could damage any text.
_MIN_HEADER_SECRET_LENGTH = 6


def remove_secrets(text: str, *, secrets: Iterable[str], headers: str) -> str:
    """Returns the text without these secrets, the values of these stored headers, and whatever `mask_secrets` finds."""
    own = {*secrets, *(part for value in header_values(headers) for part in _secret_parts(value))}
    # The longest first, because one secret may be part of another.
    for secret in sorted(filter(None, own), key=len, reverse=True):
        text = text.replace(secret, REMOVED)
    return mask_secrets(text)


def without_secrets(text: str, delivery: Delivery) -> str:
    """Returns the text as it may be shown with this delivery."""
    command = delivery.command
    own = (
        *(command.signature, command.previous_signature),
        *(command.signing_secret, command.previous_signing_secret),
    )
    return remove_secrets(text, secrets=own, headers=delivery.headers)


def shown_attempts(delivery: Delivery) -> list[Attempt]:
    """Returns its attempts in order, with their texts made safe to show."""
    return [
        attempt._replace(
            message=without_secrets(attempt.message, delivery), response=without_secrets(attempt.response, delivery)
        )
        for attempt in delivery.attempts
    ]


def _secret_parts(value: str) -> Iterator[str]:
    """Yields a header's value and its last word: a receiver may send back only the `abc` of `Bearer abc`."""
    for part in (value, value.rpartition(" ")[2]):
        if len(part) >= _MIN_HEADER_SECRET_LENGTH:
            yield part
