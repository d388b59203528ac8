"""Exchange tokens: signed, not stored.

A token names a command, perhaps a user, and the generation of both; raising a generation voids the tokens made before.
The signature is HMAC-SHA256 by `django.core.signing`, so SECRET_KEY may be rotated through SECRET_KEY_FALLBACKS.
"""

from __future__ import annotations

import secrets

from django.conf import settings
from django.core import signing

from auth_tokens.models import TokenSubject
from organizations.models import Command, User

_SALT = "commands-platform.exchange-token"
_MAX_LENGTH = 512


def make_token(*, command: Command, user: User | None) -> str:
    """A fresh token, opaque and safe in a URL, valid for EXCHANGE_TOKEN_LIFETIME."""
    return make_token_of(
        command.pk, command.token_generation, user.pk if user else None, user.token_generation if user else 0
    )


def make_token_of(command_id: int, command_generation: int, user_id: int | None, user_generation: int) -> str:
    """The same from the bare numbers, for the sender, which has no rows at hand."""
    nonce = secrets.token_urlsafe(12)
    return signing.dumps([command_id, command_generation, user_id, user_generation, nonce], salt=_SALT)


def read_token(token: str) -> TokenSubject | None:
    """What the token speaks for, in one query; None if it is forged, expired, revoked or of somebody inactive."""
    if len(token) > _MAX_LENGTH or not token.isascii():
        return None
    try:
        command_id, command_generation, user_id, user_generation, _nonce = signing.loads(
            token, salt=_SALT, max_age=settings.EXCHANGE_TOKEN_LIFETIME
        )
    except (signing.BadSignature, ValueError):
        return None
    if user_id is None:
        return _read_command_token(command_id, command_generation)
    return _read_user_token(command_id, command_generation, user_id, user_generation)


def _read_command_token(command_id: int, generation: int) -> TokenSubject | None:
    command = (
        Command.objects.select_related("organization")
        .filter(pk=command_id, token_generation=generation, is_active=True, organization__is_active=True)
        .first()
    )
    return TokenSubject(command, None, command.organization) if command else None


def _read_user_token(
    command_id: int, command_generation: int, user_id: int, user_generation: int
) -> TokenSubject | None:
    user = (
        User.objects.select_related("organization")
        .filter(pk=user_id, token_generation=user_generation, is_active=True, organization__is_active=True)
        .first()
    )
    if user is None:
        return None
    subject = _read_command_token(command_id, command_generation)
    if subject is None:
        return None
    command = subject.command
    # A command that is no longer public loses the users of other organizations.
    if command.organization_id != user.organization_id and not command.is_public:
        return None
    return TokenSubject(command, user, user.organization)
