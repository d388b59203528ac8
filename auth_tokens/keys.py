"""The shape of an API key: `cmdp_<prefix>_<secret><checksum>`.

The secret is 43 characters of base62, which is over 256 random bits. Nobody can guess it, so a fast hash protects it
well enough. The checksum lets us refuse a mistyped or invented key without a query.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import string
import zlib

_ALPHABET = string.digits + string.ascii_letters
_PREFIX_LENGTH = 8
_SECRET_LENGTH = 43
_CHECKSUM_LENGTH = 6
_KEY_SHAPE = re.compile(
    rf"cmdp_([0-9A-Za-z]{{{_PREFIX_LENGTH}}})_([0-9A-Za-z]{{{_SECRET_LENGTH}}})([0-9A-Za-z]{{{_CHECKSUM_LENGTH}}})"
)


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def _checksum(text: str) -> str:
    number, digits = zlib.crc32(text.encode()), ""
    for _ in range(_CHECKSUM_LENGTH):
        number, digit = divmod(number, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits


def new_key() -> tuple[str, str]:
    """Returns a new key and its prefix, which is the part that may be shown later."""
    prefix = _random(_PREFIX_LENGTH)
    body = f"cmdp_{prefix}_{_random(_SECRET_LENGTH)}"
    return body + _checksum(body), prefix


def has_key_shape(text: str) -> bool:
    """Returns whether `text` has the form of a key and the right checksum."""
    return _KEY_SHAPE.fullmatch(text) is not None and _checksum(text[:-_CHECKSUM_LENGTH]) == text[-_CHECKSUM_LENGTH:]


def hash_key(key: str) -> bytes:
    """Returns the SHA-256 of the whole key. The database stores only this."""
    return hashlib.sha256(key.encode()).digest()
