"""Makes and reads exchange tokens. They are encrypted, and the database does not store them.

A token contains the primary keys of a command and of a user, if there is one, with the token generation of each.
Raising a generation revokes all tokens made before. AES-GCM-SIV (RFC 8452) hides the content and proves that this
server made the token. It stays safe even if a random nonce repeats, which can happen after billions of tokens.
SECRET_KEY can be rotated through SECRET_KEY_FALLBACKS.
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
# The command and its generation, the user (0: none) and its generation, and the time of making in Unix milliseconds.
_CONTENT = struct.Struct(">QIQIQ")
# Nonce, content and tag (16 bytes) are 60 bytes together, so base64 needs no padding and each token has one spelling.
_TOKEN_SHAPE = re.compile(rf"{TOKEN_PREFIX}[0-9A-Za-z_-]{{80}}", re.ASCII)
_TO_URLSAFE, _FROM_URLSAFE = bytes.maketrans(b"+/", b"-_"), bytes.maketrans(b"-_", b"+/")


class TokenClaim(NamedTuple):
    """The content of a token. The rows that it names decide whether it is still valid."""

    command_id: int
    command_generation: int
    user_id: int | None
    user_generation: int
    made_at: datetime


def make_token(*, command: Command, user: User | None) -> str:
    """Returns a new token, which is safe to use in a URL and valid for EXCHANGE_TOKEN_LIFETIME."""
    return make_token_of(
        command.pk, command.token_generation, user.pk if user else None, user.token_generation if user else 0
    )


def make_token_of(command_id: int, command_generation: int, user_id: int | None, user_generation: int) -> str:
    """Returns a new token, made from numbers because the sender has no rows of commands and users."""
    content = _CONTENT.pack(command_id, command_generation, user_id or 0, user_generation, int(time.time() * 1000))
    nonce = os.urandom(_NONCE_LENGTH)
    sealed = nonce + _ciphers()[0].encrypt(nonce, content, _PURPOSE)
    return TOKEN_PREFIX + binascii.b2a_base64(sealed, newline=False).translate(_TO_URLSAFE).decode()


def read_claim(token: str) -> TokenClaim | None:
    """Returns the content of a token, or None if this server did not make it. The caller must check its age."""
    if not _TOKEN_SHAPE.fullmatch(token):
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
    """Returns the cipher that makes tokens, then those of earlier secret keys."""
    secrets = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    return [AESGCMSIV(hmac.digest(force_bytes(secret), _PURPOSE, "sha256")) for secret in secrets]
