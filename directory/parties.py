"""Finds the command and the user that a new API key is to belong to."""

from __future__ import annotations

from typing import TypedDict
from uuid import UUID

from commands_platform.lib.errors import InvalidInputError
from organizations.models import Command, Organization, User


class KeyParty(TypedDict):
    """The command that a key is bound to, and its owner."""

    command: Command | None
    owner: User | None


def party_of(organization: Organization, *, command_uuid: UUID | None, owner_uuid: UUID | None) -> KeyParty:
    """Returns the organization's command and user with these UUIDs. Raises InvalidInputError."""
    errors: dict[str, list[str]] = {}
    command = Command.objects.filter(organization=organization, uuid=command_uuid).first() if command_uuid else None
    if command_uuid and command is None:
        errors["command_uuid"] = ["The organization has no command with this UUID."]
    owner = User.objects.filter(organization=organization, uuid=owner_uuid).first() if owner_uuid else None
    if owner_uuid and owner is None:
        errors["owner_uuid"] = ["The organization has no user with this UUID."]
    if errors:
        raise InvalidInputError(errors=errors)
    return {"command": command, "owner": owner}
