"""Creates, changes, rotates and revokes API keys, and makes exchange tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction

from audit.kinds import Verb
from audit.services import record
from audit.subjects import values_of
from auth_tokens import tokens
from auth_tokens.errors import CommandNotPublicError, KeyRevokedError, KeyWithoutCommandError, UnknownUserError
from auth_tokens.keys import hash_key, new_key
from auth_tokens.models import ApiKey, CallerContext
from auth_tokens.networks import check_networks
from auth_tokens.scopes import Scope
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


@transaction.atomic
def create_api_key(
    *,
    organization: Organization,
    command: Command | None = None,
    owner: User | None = None,
    name: str = "",
    scopes: Sequence[str] = (),
    allowed_networks: Sequence[str] = (),
    rate_limit: int | None = None,
    expires_at: datetime | None = None,
    giver: ApiKey | None = None,
    replaces: ApiKey | None = None,
) -> tuple[ApiKey, str]:
    """Creates a key. Without scopes it may do nothing. `giver` is the key that makes it, if one does.

    Returns the row and the key itself, which cannot be read again later. Raises InvalidInputError.
    """
    if command is not None and command.organization_id != organization.pk:
        raise InvalidInputError(errors={"command": ["The command belongs to another organization."]})
    if owner is not None and owner.organization_id != organization.pk:
        raise InvalidInputError(errors={"owner": ["The owner belongs to another organization."]})
    _check_scopes(scopes, is_bound=command is not None, giver=giver)
    _check_expiry(expires_at)
    key, prefix = new_key()
    row = ApiKey.objects.create(
        name=name,
        organization=organization,
        command=command,
        owner=owner,
        prefix=prefix,
        secret_hash=hash_key(key),
        scopes=list(dict.fromkeys(scopes)),
        allowed_networks=check_networks(allowed_networks),
        rate_limit=rate_limit,
        expires_at=expires_at,
        replaces=replaces,
    )
    record(Verb.CREATED, row)
    return row, key


@transaction.atomic
def change_api_key(*, api_key: ApiKey, changes: Mapping[str, Any], giver: ApiKey) -> ApiKey:
    """Changes the name, scopes, networks or expiry of a key. Returns it as it is now.

    Raises InvalidInputError, or KeyRevokedError.
    """
    api_key = _locked(api_key)
    before = values_of(api_key)
    values = dict(changes)
    if "scopes" in values:
        values["scopes"] = list(dict.fromkeys(values["scopes"]))
        added = [scope for scope in values["scopes"] if scope not in api_key.scopes]
        _check_scopes(added, is_bound=api_key.command_id is not None, giver=giver)
    if "allowed_networks" in values:
        values["allowed_networks"] = check_networks(values["allowed_networks"])
    if "expires_at" in values:
        _check_expiry(values["expires_at"])
    for name, value in values.items():
        setattr(api_key, name, value)
    if values:
        api_key.save(update_fields=values)
    record(Verb.CHANGED, api_key, before=before)
    return api_key


@transaction.atomic
def rotate_api_key(
    *, api_key: ApiKey, overlap: timedelta, expires_at: datetime | None = None, giver: ApiKey | None = None
) -> tuple[ApiKey, str]:
    """Makes a key that replaces this one, which expires when the overlap is over.

    Without `expires_at`, the new key lives as long as the old one was made for. Returns the row and the key itself.
    Raises InvalidInputError, or KeyRevokedError.
    """
    api_key, now = _locked(api_key), clock.now()
    before = values_of(api_key)
    if expires_at is None and api_key.expires_at is not None:
        expires_at = now + (api_key.expires_at - api_key.created_at)
    made = create_api_key(
        organization=api_key.organization,
        command=api_key.command,
        owner=api_key.owner,
        name=api_key.name,
        scopes=api_key.scopes,
        allowed_networks=api_key.allowed_networks,
        rate_limit=api_key.rate_limit,
        expires_at=expires_at,
        giver=giver,
        replaces=api_key,
    )
    ends_at = now + overlap
    api_key.expires_at = ends_at if api_key.expires_at is None else min(ends_at, api_key.expires_at)
    api_key.save(update_fields=["expires_at"])
    record(Verb.ROTATED, api_key, before=before)
    return made


@transaction.atomic
def revoke_api_key(*, api_key: ApiKey, pause_schedules: bool = False) -> ApiKey:
    """Revokes the key at once and for good. Returns it as it is now.

    With `pause_schedules`, the schedules that it made are deactivated in the background, and also those that were made
    with the keys that it has replaced.
    """
    api_key = _select_for_update(api_key)
    before = values_of(api_key)
    if api_key.revoked_at is None:
        api_key.revoked_at = clock.now()
    if pause_schedules:
        api_key.pauses_after = 0
    api_key.save(update_fields=["revoked_at", "pauses_after"])
    if before["revoked_at"] is None:
        record(Verb.REVOKED, api_key, before=before)
    return api_key


def _locked(api_key: ApiKey) -> ApiKey:
    locked = _select_for_update(api_key)
    if locked.revoked_at is not None:
        raise KeyRevokedError
    return locked


def _select_for_update(api_key: ApiKey) -> ApiKey:
    rows = ApiKey.objects.select_related("organization", "command", "owner")
    return rows.select_for_update(of=("self",), no_key=True).get(pk=api_key.pk)


def _check_scopes(scopes: Sequence[str], *, is_bound: bool, giver: ApiKey | None) -> None:
    if is_bound and Scope.MANAGE in scopes:
        message = "A key that is bound to a command cannot have the scope MANAGE."
        raise InvalidInputError(errors={"scopes": [message]})
    lacking = [] if giver is None else [scope for scope in scopes if scope not in giver.scopes]
    if lacking:
        message = f"Your API key cannot give scopes that it does not have itself: {', '.join(lacking)}."
        raise InvalidInputError(errors={"scopes": [message]})


def _check_expiry(expires_at: datetime | None) -> None:
    if expires_at is not None and expires_at <= clock.now():
        raise InvalidInputError(errors={"expires_at": ["Must be in the future."]})


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
