"""Exchange tokens: signed, not stored.

A token names a command, perhaps a user, and the generation of both; raising a generation voids the tokens made before.
The signature is HMAC-SHA256 by `django.core.signing`, so SECRET_KEY may be rotated through SECRET_KEY_FALLBACKS.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from base64 import urlsafe_b64encode
from functools import cache, lru_cache

import orjson
from django.conf import settings
from django.core import signing
from django.utils.encoding import force_bytes

from auth_tokens.models import TokenSubject
from commands_platform.lib.rows import JoinedQuery
from organizations.models import Command, Organization, User

_SALT = "commands-platform.exchange-token"
_MAX_LENGTH = 512

_COMMAND = JoinedQuery(
    """
    SELECT {columns} FROM organizations_command c
    JOIN organizations_organization co ON co.id = c.organization_id AND co.is_active
    WHERE c.id = %s AND c.token_generation = %s AND c.is_active
    """,
    c=Command,
    co=Organization,
)
_COMMAND_AND_USER = JoinedQuery(
    """
    SELECT {columns} FROM organizations_command c
    JOIN organizations_organization co ON co.id = c.organization_id AND co.is_active
    CROSS JOIN organizations_user u
    JOIN organizations_organization uo ON uo.id = u.organization_id AND uo.is_active
    WHERE c.id = %s AND c.token_generation = %s AND c.is_active
      AND u.id = %s AND u.token_generation = %s AND u.is_active
    """,
    c=Command,
    co=Organization,
    u=User,
    uo=Organization,
)


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


def read_token(token: str) -> TokenSubject | None:
    """What the token speaks for, in one query; None if it is forged, expired, revoked or of somebody inactive."""
    if len(token) > _MAX_LENGTH or not token.isascii():
        return None
    try:
        command_id, command_generation, user_id, user_generation, _nonce = _signer().unsign_object(
            token, serializer=_Json, max_age=settings.EXCHANGE_TOKEN_LIFETIME
        )
    except (signing.BadSignature, ValueError):
        return None
    if user_id is None:
        return _read_command_token(command_id, command_generation)
    return _read_user_token(command_id, command_generation, user_id, user_generation)


def _read_command_token(command_id: int, generation: int) -> TokenSubject | None:
    found = _COMMAND.first([command_id, generation])
    if found is None:
        return None
    command, organization = found
    command.organization = organization
    return TokenSubject(command, None, organization)


def _read_user_token(
    command_id: int, command_generation: int, user_id: int, user_generation: int
) -> TokenSubject | None:
    found = _COMMAND_AND_USER.first([command_id, command_generation, user_id, user_generation])
    if found is None:
        return None
    command, command_organization, user, user_organization = found
    command.organization, user.organization = command_organization, user_organization
    # A command that is no longer public loses the users of other organizations.
    if command.organization_id != user.organization_id and not command.is_public:
        return None
    return TokenSubject(command, user, user_organization)
