"""Exchange tokens: signed, not stored.

A token names a command, perhaps a user, and the generation of both; raising a generation voids the tokens made before.
The signature is HMAC-SHA256 by `django.core.signing`, so SECRET_KEY may be rotated through SECRET_KEY_FALLBACKS.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from base64 import urlsafe_b64encode
from functools import cache, lru_cache
from typing import NamedTuple

import orjson
from django.conf import settings
from django.core import signing
from django.utils.encoding import force_bytes

from auth_tokens.models import TokenSubject
from organizations.models import Command, User

_SALT = "commands-platform.exchange-token"
_MAX_LENGTH = 512


class TokenClaim(NamedTuple):
    """What a token says. Whether that still holds, only the rows that it names can tell."""

    command_id: int
    command_generation: int
    user_id: int | None
    user_generation: int


class _Signer(signing.TimestampSigner):
    """Django's signatures, byte for byte, without deriving the secret's HMAC key anew for each of them."""

    def signature(self, value: str | bytes, key: str | bytes | None = None) -> str:
        digest = hmac.digest(_derived_key(self.salt, key or self.key), force_bytes(value), "sha256")
        return urlsafe_b64encode(digest).rstrip(b"=").decode()


@lru_cache(maxsize=16)
def _derived_key(salt: str, secret: str | bytes) -> bytes:
    return hashlib.sha256(force_bytes(salt + "signer") + force_bytes(secret)).digest()


class _Json:
    """What a token's content is written with."""

    dumps = staticmethod(orjson.dumps)
    loads = staticmethod(orjson.loads)


@cache
def _signer() -> _Signer:
    return _Signer(salt=_SALT)


def make_token(*, command: Command, user: User | None) -> str:
    """A fresh token, opaque and safe in a URL, valid for EXCHANGE_TOKEN_LIFETIME."""
    return make_token_of(
        command.pk, command.token_generation, user.pk if user else None, user.token_generation if user else 0
    )


def make_token_of(command_id: int, command_generation: int, user_id: int | None, user_generation: int) -> str:
    """The same from the bare numbers, for the sender, which has no rows at hand."""
    nonce = secrets.token_urlsafe(32)
    return _signer().sign_object([command_id, command_generation, user_id, user_generation, nonce], serializer=_Json)


def read_claim(token: str) -> TokenClaim | None:
    """What the token says; None if it is forged or expired."""
    if len(token) > _MAX_LENGTH or not token.isascii():
        return None
    try:
        claim, made_at = _verified(token)
    except (signing.BadSignature, TypeError, ValueError):
        return None
    return claim if time.time() - made_at <= settings.EXCHANGE_TOKEN_LIFETIME.total_seconds() else None


# Callers come again and again with the same token, and a signature that was good stays good.
@lru_cache(maxsize=1000)
def _verified(token: str) -> tuple[TokenClaim, int]:
    """What a token says, and the second since 1970 in which it was made. Raises BadSignature, TypeError, ValueError."""
    *claim, _nonce = _signer().unsign_object(token, serializer=_Json)
    return TokenClaim(*claim), signing.b62_decode(token.rsplit(":", 2)[1])


def find_subject(claim: TokenClaim, *, command: Command | None, user: User | None) -> TokenSubject | None:
    """What a token speaks for, given the rows that it names; None if it is revoked, or of somebody inactive."""
    if (
        command is None
        or command.pk != claim.command_id
        or command.token_generation != claim.command_generation
        or not command.is_active
        or not command.organization.is_active
    ):
        return None
    if claim.user_id is None:
        return TokenSubject(command, None, command.organization)
    if (
        user is None
        or user.token_generation != claim.user_generation
        or not user.is_active
        or not user.organization.is_active
        # A command that is no longer public loses the users of other organizations.
        or (user.organization_id != command.organization_id and not command.is_public)
    ):
        return None
    return TokenSubject(command, user, user.organization)
