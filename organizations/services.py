"""Rotates the secrets of commands, and revokes exchange tokens."""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction
from django.db.models import F

from commands_platform.lib import clock
from commands_platform.lib.encryption import EncryptedText
from organizations.models import Command, User

ROTATION_OVERLAP = timedelta(hours=24)

_SIGNATURE_FIELDS = ["signature", "previous_signature", "previous_signature_expires_at"]


@transaction.atomic
def rotate_signing_secret(*, command: Command, overlap: timedelta = ROTATION_OVERLAP) -> Command:
    """Gives the command a new signing secret. Callbacks are signed with both until the overlap is over."""
    command = Command.objects.select_for_update().get(pk=command.pk)
    command.rotate_signing_secret(now=clock.now(), overlap=overlap)
    command.save(
        update_fields=["signing_secret", "previous_signing_secret", "previous_secret_expires_at", *_SIGNATURE_FIELDS]
    )
    return command


@transaction.atomic
def rotate_static_signature(*, command: Command, overlap: timedelta = ROTATION_OVERLAP) -> Command:
    """Gives the command a new static signature. Callbacks carry both until the overlap is over.

    Without an overlap, only the new one is sent from now on. Use that for a signature that has leaked.
    """
    command = Command.objects.select_for_update().get(pk=command.pk)
    command.rotate_signature(now=clock.now(), overlap=overlap)
    command.save(update_fields=_SIGNATURE_FIELDS)
    return command


def secrets_are_readable() -> bool:
    """Returns whether SECRETS_KEYS can decrypt the secrets of the oldest and of the newest command."""
    ends = (Command.objects.only("signing_secret").order_by(order).first() for order in ("pk", "-pk"))
    return not any(command is not None and isinstance(command.signing_secret, EncryptedText) for command in ends)


def revoke_tokens_of_command(*, command: Command) -> None:
    """Revokes every exchange token of the command."""
    Command.objects.filter(pk=command.pk).update(token_generation=F("token_generation") + 1)


def revoke_tokens_of_user(*, user: User) -> None:
    """Revokes every exchange token that acts as the user."""
    User.objects.filter(pk=user.pk).update(token_generation=F("token_generation") + 1)
