"""Making, finding and revoking keys; exchanging a user for a token."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.db.models import Q

from auth_tokens import tokens
from auth_tokens.errors import CommandNotPublicError, InvalidApiKeyError, KeyWithoutCommandError, UnknownUserError
from auth_tokens.keys import has_key_shape, hash_key, new_key
from auth_tokens.models import ApiKey, CallerContext, TokenSubject
from auth_tokens.scopes import ALL_SCOPES
from commands_platform.lib import clock
from commands_platform.lib.errors import InvalidInputError
from commands_platform.lib.rows import JoinedQuery
from organizations.models import Command, Organization, User

LAST_USED_RESOLUTION = timedelta(minutes=1)

_KEY = JoinedQuery(
    """
    SELECT {columns} FROM auth_tokens_apikey k
    JOIN organizations_organization o ON o.id = k.organization_id
    LEFT JOIN organizations_command c ON c.id = k.command_id
    WHERE k.secret_hash = %s
    """,
    k=ApiKey,
    o=Organization,
    c=Command,
)


def create_api_key(
    *,
    organization: Organization,
    command: Command | None = None,
    name: str = "",
    scopes: Sequence[str] = ALL_SCOPES,
    expires_at: datetime | None = None,
) -> tuple[ApiKey, str]:
    """The key's row and the key itself, which can be had only now."""
    if command is not None and command.organization_id != organization.pk:
        raise InvalidInputError(errors={"command": ["The command belongs to another organization."]})
    key, prefix = new_key()
    row = ApiKey.objects.create(
        name=name,
        organization=organization,
        command=command,
        prefix=prefix,
        secret_hash=hash_key(key),
        scopes=list(scopes),
        expires_at=expires_at,
    )
    return row, key


def find_api_key(key: str) -> ApiKey:
    """The valid row of a key, with its organization and command, in one query; else InvalidApiKeyError."""
    if not has_key_shape(key):
        raise InvalidApiKeyError
    found = _KEY.first([hash_key(key)])
    if found is None:
        raise InvalidApiKeyError
    row: ApiKey = found[0]
    row.organization, row.command = found[1:]
    now = datetime.now(UTC)
    if not row.is_valid_at(now):
        raise InvalidApiKeyError
    if row.last_used_at is None or now - row.last_used_at >= LAST_USED_RESOLUTION:
        # The condition keeps a herd of first requests from writing the same row one after the other.
        stale = Q(last_used_at=None) | Q(last_used_at__lte=now - LAST_USED_RESOLUTION)
        ApiKey.objects.filter(stale, pk=row.pk).update(last_used_at=now)
    return row


def revoke_api_key(*, api_key: ApiKey) -> None:
    """The key is refused from now on; it cannot be taken back."""
    ApiKey.objects.filter(pk=api_key.pk, revoked_at=None).update(revoked_at=clock.now())


def read_exchange_token(*, token: str, api_key: ApiKey) -> TokenSubject | None:
    """What the token adds to a request of this key; None for a token that counts as absent."""
    subject = tokens.read_token(token)
    if subject is None:
        return None
    if api_key.command_id is not None:
        return subject if subject.command.pk == api_key.command_id else None
    return subject if subject.command.organization_id == api_key.organization_id else None


def fetch_exchange_token(*, context: CallerContext, user_uuid: UUID) -> tuple[str, User]:
    """A token with which the key's command acts as the user, and that user.

    Raises KeyWithoutCommandError, UnknownUserError or CommandNotPublicError.
    """
    command = context.api_key.command
    if command is None:
        raise KeyWithoutCommandError
    user = User.objects.select_related("organization").filter(uuid=user_uuid).first()
    if user is None or not user.is_active or not user.organization.is_active:
        raise UnknownUserError
    if user.organization_id != command.organization_id and not command.is_public:
        raise CommandNotPublicError
    return tokens.make_token(command=command, user=user), user
