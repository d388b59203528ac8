"""Installs public commands of other organizations, changes what they may do, and removes them."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import structlog
from django.db import IntegrityError, transaction

from audit.kinds import Verb
from audit.services import record
from audit.subjects import values_of
from auth_tokens.scopes import INSTALLABLE_SCOPES
from commands_platform.lib import clock
from commands_platform.lib.errors import InvalidInputError, NotFoundError
from events.matching import is_pattern
from installations.errors import AlreadyInstalledError
from organizations.models import Command, Installation, Organization

logger = structlog.get_logger(__name__)


def install_command(
    *, organization: Organization, command_uuid: UUID, scopes: Sequence[str], events: Sequence[str]
) -> Installation:
    """Lets another organization's public command act in this one.

    Raises InvalidInputError, or AlreadyInstalledError.
    """
    commands = Command.objects.filter(is_public=True, is_active=True, organization__is_active=True)
    command = commands.exclude(organization=organization).filter(uuid=command_uuid).first()
    if command is None:
        message = "There is no public command of another organization with this UUID."
        raise InvalidInputError(errors={"command_uuid": [message]})
    removed = Installation.objects.filter(organization=organization, command=command).exclude(removed_at=None)
    installation = Installation(
        organization=organization,
        command=command,
        installed_at=clock.now(),
        tokens_valid_from=removed.order_by("-removed_at").values_list("removed_at", flat=True).first(),
    )
    _allow(installation, scopes=scopes, events=events)
    try:
        with transaction.atomic():
            installation.save(force_insert=True)
            record(Verb.CREATED, installation)
    except IntegrityError as error:
        raise AlreadyInstalledError from error
    logger.info("command_installed", command=str(command.uuid), organization=str(organization.uuid))
    return installation


@transaction.atomic
def change_installation(
    *, installation: Installation, scopes: Sequence[str] | None = None, events: Sequence[str] | None = None
) -> Installation:
    """Changes the scopes and events that the command is allowed to use. Raises InvalidInputError."""
    rows = Installation.objects.select_for_update(of=("self",)).select_related("command__organization")
    installation = rows.get(pk=installation.pk)
    before = values_of(installation)
    _allow(
        installation,
        scopes=installation.scopes if scopes is None else scopes,
        events=installation.events if events is None else events,
    )
    installation.save(update_fields=["scopes", "events"])
    record(Verb.CHANGED, installation, before=before)
    return installation


@transaction.atomic
def remove_installation(*, installation: Installation) -> None:
    """Stops the command from acting in the organization at once. Its schedules and hooks end in the background.

    Raises NotFoundError if it is already removed.
    """
    if not Installation.objects.current().filter(pk=installation.pk).update(removed_at=clock.now()):
        raise NotFoundError
    record(Verb.DELETED, installation)
    logger.info("command_removed", installation=str(installation.uuid))


def _allow(installation: Installation, *, scopes: Sequence[str], events: Sequence[str]) -> None:
    errors: dict[str, list[str]] = {}
    for scope in scopes:
        if scope not in INSTALLABLE_SCOPES:
            errors["scopes"] = [
                f"{scope!r} is not a scope that can be allowed. Choose from: {', '.join(INSTALLABLE_SCOPES)}."
            ]
    for pattern in events:
        if not is_pattern(pattern):
            errors["events"] = [f"{pattern!r} is not the name of an event, like forms.response.created, forms.* or *."]
    if errors:
        raise InvalidInputError(errors=errors)
    installation.scopes, installation.events = list(dict.fromkeys(scopes)), list(dict.fromkeys(events))
