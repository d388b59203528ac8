"""Exchange tokens: encrypted, not stored.

A token holds the keys of a command and perhaps a user, and the token generation of both. Raising a generation revokes
the tokens made before. AES-GCM-SIV (RFC 8452) makes it opaque and proves that it was made here. It stays safe if a
nonce ever repeats, which billions of random ones might. SECRET_KEY can be rotated through SECRET_KEY_FALLBACKS.
"""

from __future__ import annotations

import binascii
import hmac
import os
import re
import struct
import time
from datetime import UTC, datetime
from functools import cache
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV
from django.conf import settings
from django.utils.encoding import force_bytes

from organizations.models import Command, User

TOKEN_PREFIX = "cmdt_"  # noqa: S105

_PURPOSE = b"commands-platform.exchange-token"
_NONCE_LENGTH = 12
# Command, its generation, user (0: none), the user's generation, the milliseconds since 1970 when it was made.
_CONTENT = struct.Struct(">QIQIQ")
# Nonce, content and a tag of 16 bytes: 60 bytes, so base64 needs no padding and each token has one spelling only.
_SHAPE = re.compile(rf"{TOKEN_PREFIX}[0-9A-Za-z_-]{{80}}", re.ASCII)
_TO_URLSAFE, _FROM_URLSAFE = bytes.maketrans(b"+/", b"-_"), bytes.maketrans(b"-_", b"+/")


class TokenClaim(NamedTuple):
    """The content of a token. Only the rows that it names can tell whether that still holds."""

    command_id: int
    command_generation: int
    user_id: int | None
    user_generation: int
    made_at: datetime


def make_token(*, command: Command, user: User | None) -> str:
    """Returns a fresh token, opaque and safe in a URL, valid for EXCHANGE_TOKEN_LIFETIME."""
    return make_token_of(
        command.pk, command.token_generation, user.pk if user else None, user.token_generation if user else 0
    )


def make_token_of(command_id: int, command_generation: int, user_id: int | None, user_generation: int) -> str:
    """Returns a fresh token from bare numbers, for the sender, which has no rows at hand."""
    content = _CONTENT.pack(command_id, command_generation, user_id or 0, user_generation, int(time.time() * 1000))
    nonce = os.urandom(_NONCE_LENGTH)
    sealed = nonce + _ciphers()[0].encrypt(nonce, content, _PURPOSE)
    return TOKEN_PREFIX + binascii.b2a_base64(sealed, newline=False).translate(_TO_URLSAFE).decode()


def read_claim(token: str) -> TokenClaim | None:
    """Returns what the token says, or None if it was not made here. Its age is for the caller to judge."""
    if not _SHAPE.fullmatch(token):
        return None
    sealed = binascii.a2b_base64(token[len(TOKEN_PREFIX) :].encode().translate(_FROM_URLSAFE))
    nonce, encrypted = sealed[:_NONCE_LENGTH], sealed[_NONCE_LENGTH:]
    for cipher in _ciphers():
        try:
            content = cipher.decrypt(nonce, encrypted, _PURPOSE)
        except InvalidTag:
            continue
        command_id, command_generation, user_id, user_generation, milliseconds = _CONTENT.unpack(content)
        made_at = datetime.fromtimestamp(milliseconds / 1000, UTC)
        return TokenClaim(command_id, command_generation, user_id or None, user_generation, made_at)
    return None


@cache
def _ciphers() -> list[AESGCMSIV]:
    """Returns the cipher that makes tokens, then those of the secret keys that were used before."""
    secrets = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    return [AESGCMSIV(hmac.digest(force_bytes(secret), _PURPOSE, "sha256")) for secret in secrets]
