"""Exchange tokens: signed, not stored.

A token names a command, perhaps a user, and the generation of both; raising a generation voids the tokens made before.
The signature is HMAC-SHA256 by `django.core.signing`, so SECRET_KEY may be rotated through SECRET_KEY_FALLBACKS.
"""

from __future__ import annotations

import secrets
from functools import cache

from django.conf import settings
from django.core import signing

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


@cache
def _signer() -> signing.TimestampSigner:
    return signing.TimestampSigner(salt=_SALT)


def make_token(*, command: Command, user: User | None) -> str:
    """A fresh token, opaque and safe in a URL, valid for EXCHANGE_TOKEN_LIFETIME."""
    return make_token_of(
        command.pk, command.token_generation, user.pk if user else None, user.token_generation if user else 0
    )


def make_token_of(command_id: int, command_generation: int, user_id: int | None, user_generation: int) -> str:
    """The same from the bare numbers, for the sender, which has no rows at hand."""
    nonce = secrets.token_urlsafe(32)
    return _signer().sign_object([command_id, command_generation, user_id, user_generation, nonce])


def read_token(token: str) -> TokenSubject | None:
    """What the token speaks for, in one query; None if it is forged, expired, revoked or of somebody inactive."""
    if len(token) > _MAX_LENGTH or not token.isascii():
        return None
    try:
        command_id, command_generation, user_id, user_generation, _nonce = _signer().unsign_object(
            token, max_age=settings.EXCHANGE_TOKEN_LIFETIME
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
