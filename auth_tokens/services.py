"""Creates and revokes API keys, and makes exchange tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from django.conf import settings

from auth_tokens import tokens
from auth_tokens.errors import CommandNotPublicError, KeyWithoutCommandError, UnknownUserError
from auth_tokens.keys import hash_key, new_key
from auth_tokens.models import ApiKey, CallerContext
from commands_platform.lib import clock
from commands_platform.lib.errors import InvalidInputError
from organizations.models import Command, Organization, User
from organizations.reach import find_installation, may_act


@dataclass(frozen=True, slots=True)
class FetchedToken:
    """An exchange token, the user that it acts as, and the time when it expires."""

    token: str
    user: User
    expires_at: datetime


def create_api_key(
    *,
    organization: Organization,
    command: Command | None = None,
    owner: User | None = None,
    name: str = "",
    scopes: Sequence[str] = (),
    rate_limit: int | None = None,
    expires_at: datetime | None = None,
) -> tuple[ApiKey, str]:
    """Creates a key. Without scopes it may do nothing.

    Returns the row and the key itself, which cannot be read again later. Raises InvalidInputError.
    """
    if command is not None and command.organization_id != organization.pk:
        raise InvalidInputError(errors={"command": ["The command belongs to another organization."]})
    if owner is not None and owner.organization_id != organization.pk:
        raise InvalidInputError(errors={"owner": ["The owner belongs to another organization."]})
    key, prefix = new_key()
    row = ApiKey.objects.create(
        name=name,
        organization=organization,
        command=command,
        owner=owner,
        prefix=prefix,
        secret_hash=hash_key(key),
        scopes=list(scopes),
        rate_limit=rate_limit,
        expires_at=expires_at,
    )
    return row, key


def revoke_api_key(*, api_key: ApiKey) -> None:
    """Revokes the key at once and for good."""
    ApiKey.objects.filter(pk=api_key.pk, revoked_at=None).update(revoked_at=clock.now())


def fetch_exchange_token(*, context: CallerContext, user_uuid: UUID) -> FetchedToken:
    """Makes a token that lets the key's command act as the user.

    Raises KeyWithoutCommandError, UnknownUserError or CommandNotPublicError.
    """
    command = context.api_key.command
    if command is None:
        raise KeyWithoutCommandError
    user = User.objects.select_related("organization").filter(uuid=user_uuid).first()
    if user is None or not user.is_active or not user.organization.is_active:
        raise UnknownUserError
    if user.organization_id != command.organization_id:
        if not command.is_public:
            raise CommandNotPublicError
        installation = find_installation(command, organization=user.organization)
        if not may_act(command, organization=user.organization, installation=installation):
            # A command that is not installed must not learn which users the organization has.
            raise UnknownUserError
    expires_at = datetime.now(UTC) + settings.EXCHANGE_TOKEN_LIFETIME
    return FetchedToken(tokens.make_token(command=command, user=user), user, expires_at)
