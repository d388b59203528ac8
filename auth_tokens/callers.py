"""Finds the caller of a request from its API key and exchange token."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.db.models import Q

from auth_tokens import tokens
from auth_tokens.errors import AddressNotAllowedError, InvalidApiKeyError
from auth_tokens.keys import has_key_shape, hash_key
from auth_tokens.models import ApiKey, CallerContext, TokenSubject, VoidToken
from auth_tokens.tokens import TokenClaim
from commands_platform.lib.database.rows import JoinedQuery
from organizations.models import Command, Installation, Organization, User
from organizations.reach import find_installation, may_act

LAST_USED_RESOLUTION = timedelta(minutes=1)

# The command is the key's own, or else the one that the token names. The user's organization is read only if it differs
# from the key's, which is possible for a public command.
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
    # No request needs these columns, and it is safer not to read secrets.
    without={
        "created_at",
        "secret_hash",
        "replaces_id",
        "pauses_after",
        "signing_secret",
        "previous_signing_secret",
        "previous_secret_expires_at",
        "signature",
        "previous_signature",
        "previous_signature_expires_at",
    },
    k=ApiKey,
    o=Organization,
    c=Command,
    u=User,
    uo=Organization,
)


def find_caller(*, key: str, token: str | None = None, address: Callable[[], str] | None = None) -> CallerContext:
    """Returns the caller with this key and token. An empty token counts as sent, and is void.

    `address` returns the client's address. It is called only for keys that are limited to some networks. Without it,
    every address is allowed.

    This takes one query, or two if the token's user belongs to another organization than the key.

    Raises InvalidApiKeyError or AddressNotAllowedError.
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
    if address is not None and api_key.allowed_networks and not api_key.allows_address(address()):
        raise AddressNotAllowedError
    _note_use(api_key, now)
    if token is None:
        return CallerContext(api_key)
    return CallerContext(api_key, _judged(claim, command=command, user=user, now=now))


def _judged(
    claim: TokenClaim | None, *, command: Command | None, user: User | None, now: datetime
) -> TokenSubject | VoidToken:
    """Returns the parties of a token, given the rows that it names, or the reason why it is void."""
    if claim is None:
        return VoidToken.INVALID
    if now - claim.made_at > settings.EXCHANGE_TOKEN_LIFETIME:
        return VoidToken.EXPIRED
    if command is None or command.pk != claim.command_id:
        return VoidToken.OTHER_COMMAND
    if claim.user_id is None:
        return _fault_of_command(claim, command) or TokenSubject(command, None, command.organization)
    # Rows of users are never deleted.
    if user is None:
        return VoidToken.INVALID
    # Few callers act in another organization. One more join for all callers would cost more than this query for them.
    installation = find_installation(command, organization=user.organization)
    fault = _fault_of_command(claim, command) or _fault_of_user(claim, command, user, installation)
    return fault or TokenSubject(command, user, user.organization, installation)


def _fault_of_command(claim: TokenClaim, command: Command) -> VoidToken | None:
    if not command.is_active or not command.organization.is_active:
        return VoidToken.INACTIVE
    return VoidToken.REVOKED if command.token_generation != claim.command_generation else None


def _fault_of_user(
    claim: TokenClaim, command: Command, user: User, installation: Installation | None
) -> VoidToken | None:
    if not user.is_active or not user.organization.is_active:
        return VoidToken.INACTIVE
    if user.token_generation != claim.user_generation:
        return VoidToken.REVOKED
    if not may_act(command, organization=user.organization, installation=installation):
        return VoidToken.REVOKED
    # A removal revokes tokens for good. Installing the command again does not make them valid again.
    valid_from = installation.tokens_valid_from if installation is not None else None
    return VoidToken.REVOKED if valid_from is not None and claim.made_at <= valid_from else None


def _note_use(api_key: ApiKey, now: datetime) -> None:
    if api_key.last_used_at is None or now - api_key.last_used_at >= LAST_USED_RESOLUTION:
        # With the condition, only the first of many simultaneous requests writes the row.
        stale = Q(last_used_at=None) | Q(last_used_at__lte=now - LAST_USED_RESOLUTION)
        ApiKey.objects.filter(stale, pk=api_key.pk).update(last_used_at=now)
