"""Making, finding and revoking keys; exchanging a user for a token."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.db.models import Q

from auth_tokens import tokens
from auth_tokens.errors import CommandNotPublicError, InvalidApiKeyError, KeyWithoutCommandError, UnknownUserError
from auth_tokens.keys import has_key_shape, hash_key, new_key
from auth_tokens.models import ApiKey, CallerContext
from auth_tokens.scopes import ALL_SCOPES
from commands_platform.lib import clock
from commands_platform.lib.database.rows import JoinedQuery
from commands_platform.lib.errors import InvalidInputError
from organizations.models import Command, Organization, User

LAST_USED_RESOLUTION = timedelta(minutes=1)

# The key's own command, or else the one that the token names: whatever the token is, no other counts. An organization
# comes again with the user only if it is another one, which a public command's users may be of.
_CALLER = JoinedQuery(
    """
    SELECT {columns} FROM auth_tokens_apikey k
    JOIN organizations_organization o ON o.id = k.organization_id
    LEFT JOIN organizations_command c
      ON c.id = COALESCE(k.command_id, %(command)s::bigint) AND c.organization_id = k.organization_id
    LEFT JOIN organizations_user u ON u.id = %(user)s::bigint
    LEFT JOIN organizations_organization uo ON uo.id = u.organization_id AND uo.id <> k.organization_id
    WHERE k.secret_hash = %(hash)s
    """,
    # No request asks for these, and secrets are best left where they are.
    without={
        "created_at",
        "secret_hash",
        "signing_secret",
        "previous_signing_secret",
        "previous_secret_expires_at",
        "signature",
    },
    k=ApiKey,
    o=Organization,
    c=Command,
    u=User,
    uo=Organization,
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


def find_caller(*, key: str, token: str | None = None) -> CallerContext:
    """Who calls with this key and this token, in one query; a token that is not valid for the key counts as absent.

    Raises InvalidApiKeyError.
    """
    if not has_key_shape(key):
        raise InvalidApiKeyError
    claim = tokens.read_claim(token) if token else None
    named = {"command": claim.command_id, "user": claim.user_id} if claim else {"command": None, "user": None}
    found = _CALLER.first({"hash": hash_key(key), **named})
    if found is None:
        raise InvalidApiKeyError
    api_key, organization, command, user, users_organization = found
    api_key.organization = organization
    api_key.command = command if api_key.command_id is not None else None
    if command is not None:
        command.organization = organization
    if user is not None:
        user.organization = users_organization or organization
    now = datetime.now(UTC)
    if not api_key.is_valid_at(now):
        raise InvalidApiKeyError
    _note_use(api_key, now)
    return CallerContext(api_key, tokens.find_subject(claim, command=command, user=user) if claim else None)


def _note_use(api_key: ApiKey, now: datetime) -> None:
    if api_key.last_used_at is None or now - api_key.last_used_at >= LAST_USED_RESOLUTION:
        # The condition keeps a herd of first requests from writing the same row one after the other.
        stale = Q(last_used_at=None) | Q(last_used_at__lte=now - LAST_USED_RESOLUTION)
        ApiKey.objects.filter(stale, pk=api_key.pk).update(last_used_at=now)


def revoke_api_key(*, api_key: ApiKey) -> None:
    """The key is refused from now on; it cannot be taken back."""
    ApiKey.objects.filter(pk=api_key.pk, revoked_at=None).update(revoked_at=clock.now())


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
