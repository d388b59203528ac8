"""Receivers send back what they were sent. Secrets of a command or a schedule are neither kept nor shown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

<<<<<<< HEAD
from deliveries.custom_headers import header_values
=======
import orjson

from commands_platform.lib.masking import REMOVED, mask_secrets
>>>>>>> 24e3da6 (outbound, lib: Refuse callbacks to the server itself; mask secrets in one place.)
from deliveries.models import Delivery

# A shorter value of a header is no secret, and may stand anywhere in a text.
_MIN_SECRET_LENGTH = 6


def remove_secrets(text: str, *, secrets: Iterable[str], headers: str) -> str:
<<<<<<< HEAD
    """The text without tokens, signatures, keys, these secrets, and these headers' values (a JSON object, or "")."""
    values = header_values(headers)
    own = (*secrets, *(value for value in values if len(value) >= _SHORTEST_HEADER_SECRET))
=======
    """Returns the text without what `mask_secrets` knows, these secrets, and the values of these headers.

    `headers` is a JSON object, or empty.
    """
    values: dict[str, str] = orjson.loads(headers) if headers else {}
    own = {*secrets, *(part for value in values.values() for part in _secret_parts(value))}
>>>>>>> 24e3da6 (outbound, lib: Refuse callbacks to the server itself; mask secrets in one place.)
    # The longest first: one may be part of another.
    for secret in sorted(filter(None, own), key=len, reverse=True):
        text = text.replace(secret, REMOVED)
    return mask_secrets(text)


def without_secrets(text: str, delivery: Delivery) -> str:
    """Returns the text as it may be shown with this delivery."""
    command = delivery.command
    own = (command.signature, command.signing_secret, command.previous_signing_secret)
    return remove_secrets(text, secrets=own, headers=delivery.headers)


def shown_attempts(delivery: Delivery) -> list[dict[str, object]]:
    """Returns the records of its attempts, the first one first, with their texts made safe to show."""
    return [
        {key: without_secrets(value, delivery) if isinstance(value, str) else value for key, value in record.items()}
        for record in delivery.attempts
        if isinstance(record, dict)
    ]


def _secret_parts(value: str) -> Iterator[str]:
    """Yields a header's value, and its last word: of `Bearer abc`, a receiver may send back `abc` alone."""
    for part in (value, value.rpartition(" ")[2]):
        if len(part) >= _MIN_SECRET_LENGTH:
            yield part
