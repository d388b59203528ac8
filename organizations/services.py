"""Creates and changes organizations, users and commands, rotates the secrets of commands, and revokes tokens."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TypeVar

from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db import IntegrityError, transaction
from django.db.models import F

from audit.kinds import Verb
from audit.services import record
from audit.subjects import values_of
from commands_platform.lib import clock
from commands_platform.lib.encryption import EncryptedText, SecretUnreadableError
from commands_platform.lib.errors import InvalidInputError, PlatformError
from organizations.models import Command, Organization, User
from outbound.guard import address_guard

ROTATION_OVERLAP = timedelta(hours=24)

_SIGNATURE_FIELDS = ["signature", "previous_signature", "previous_signature_expires_at"]
# The field of each model's uniqueness, and what is said if its value is taken.
_TAKEN = {
    Organization: ("name", "Another organization has this name."),
    User: ("email", "Another user of the organization has this address."),
    Command: ("name", "Another command of the organization has this name."),
}

Row = TypeVar("Row", Organization, User, Command)


@transaction.atomic
def create_in_directory(*, row: Row) -> Row:
    """Saves a new organization, user or command. Raises InvalidInputError."""
    _check(row, changed=("callback_url",))
    _save(row)
    record(Verb.CREATED, row)
    return row


@transaction.atomic
def change_in_directory(*, row: Row, changes: Mapping[str, object]) -> Row:
    """Changes the given fields of an organization, user or command. Returns the row as it is now.

    Raises InvalidInputError.
    """
    # Rows that refer to this one can be inserted meanwhile.
    locked = type(row)._default_manager.select_for_update(no_key=True).get(pk=row.pk)
    before = values_of(locked)
    for name, value in changes.items():
        setattr(locked, name, value)
    _check(locked, changed=changes)
    if changes:
        _save(locked, changed=changes)
    record(Verb.CHANGED, locked, before=before)
    return locked


@transaction.atomic
def rotate_signing_secret(*, command: Command, overlap: timedelta = ROTATION_OVERLAP) -> Command:
    """Gives the command a new signing secret. Callbacks are signed with both until the overlap is over."""
    command = Command.objects.select_for_update().get(pk=command.pk)
    command.rotate_signing_secret(now=clock.now(), overlap=overlap)
    command.save(
        update_fields=["signing_secret", "previous_signing_secret", "previous_secret_expires_at", *_SIGNATURE_FIELDS]
    )
    record(Verb.SECRET_ROTATED, command)
    return command


@transaction.atomic
def rotate_static_signature(*, command: Command, overlap: timedelta = ROTATION_OVERLAP) -> Command:
    """Gives the command a new static signature. Callbacks carry both until the overlap is over.

    Without an overlap, only the new one is sent from now on. Use that for a signature that has leaked.
    """
    command = Command.objects.select_for_update().get(pk=command.pk)
    command.rotate_signature(now=clock.now(), overlap=overlap)
    command.save(update_fields=_SIGNATURE_FIELDS)
    record(Verb.SIGNATURE_ROTATED, command)
    return command


def note_secrets_shown(*, command: Command) -> None:
    """Records that somebody is about to read the command's secrets. Raises SecretUnreadableError."""
    if any(isinstance(secret, EncryptedText) for secret in (command.signing_secret, command.signature)):
        raise SecretUnreadableError
    record(Verb.SECRETS_SHOWN, command)


def secrets_are_readable() -> bool:
    """Returns whether SECRETS_KEYS can decrypt the secrets of the oldest and of the newest command."""
    ends = (Command.objects.only("signing_secret").order_by(order).first() for order in ("pk", "-pk"))
    return not any(command is not None and isinstance(command.signing_secret, EncryptedText) for command in ends)


@transaction.atomic
def revoke_tokens_of_command(*, command: Command) -> None:
    """Revokes every exchange token of the command."""
    Command.objects.filter(pk=command.pk).update(token_generation=F("token_generation") + 1)
    record(Verb.TOKENS_REVOKED, command)


@transaction.atomic
def revoke_tokens_of_user(*, user: User) -> None:
    """Revokes every exchange token that acts as the user."""
    User.objects.filter(pk=user.pk).update(token_generation=F("token_generation") + 1)
    record(Verb.TOKENS_REVOKED, user)


def _check(row: Organization | User | Command, *, changed: Mapping[str, object] | tuple[str, ...]) -> None:
    """Checks every field and constraint. Replaces a changed callback URL by the spelling that the guard returns."""
    errors: dict[str, list[str]] = {}
    if isinstance(row, Command) and row.callback_url and "callback_url" in changed:
        try:
            row.callback_url = address_guard().check_url(row.callback_url)
        except PlatformError as error:
            errors["callback_url"] = [error.message]
    try:
        row.full_clean()
    except ValidationError as error:
        found = error.message_dict
        if found.pop(NON_FIELD_ERRORS, None):
            errors |= _taken(row)
        errors |= found
    if errors:
        raise InvalidInputError(errors=errors)


def _save(row: Organization | User | Command, *, changed: Mapping[str, object] | None = None) -> None:
    try:
        with transaction.atomic():
            row.save(update_fields=changed)
    except IntegrityError as error:
        # Somebody else has just taken the value.
        raise InvalidInputError(errors=_taken(row)) from error


def _taken(row: Organization | User | Command) -> dict[str, list[str]]:
    field, message = _TAKEN[type(row)]
    return {field: [message]}
