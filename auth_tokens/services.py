"""Making and revoking keys, and exchanging a user for a token."""

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
    """An exchange token, whom it acts as, and when it expires."""

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
    expires_at: datetime | None = None,
) -> tuple[ApiKey, str]:
    """Makes a key, which may do nothing unless it is given scopes.

    Returns its row and the key itself, which nobody can see again. Raises InvalidInputError.
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
        expires_at=expires_at,
    )
    return row, key


def revoke_api_key(*, api_key: ApiKey) -> None:
    """Refuses the key from now on, for good."""
    ApiKey.objects.filter(pk=api_key.pk, revoked_at=None).update(revoked_at=clock.now())


def fetch_exchange_token(*, context: CallerContext, user_uuid: UUID) -> FetchedToken:
    """Makes a token with which the key's command acts as the user.

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
            # Without an installation the command must not learn who the organization's users are.
            raise UnknownUserError
    expires_at = datetime.now(UTC) + settings.EXCHANGE_TOKEN_LIFETIME
    return FetchedToken(tokens.make_token(command=command, user=user), user, expires_at)
