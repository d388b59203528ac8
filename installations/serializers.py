"""The bodies of the installation endpoints."""

from __future__ import annotations

from rest_framework import serializers

from auth_tokens.scopes import INSTALLABLE_SCOPES
from commands_platform.lib.http.fields import (
    BoundedListField,
    InstantField,
    StrictCharField,
    StrictChoiceField,
    UUIDField,
)
from commands_platform.lib.http.outputs import Output
from events.matching import MAX_NAME_LENGTH
from events.models import Hook
from organizations.models import Command, Installation

MAX_EVENTS = 100


class InstallationChanges(serializers.Serializer[Installation]):
    """The scopes and events that the command is allowed to use. Each field is optional."""

    scopes = BoundedListField(
        child=StrictChoiceField(choices=INSTALLABLE_SCOPES), max_length=len(INSTALLABLE_SCOPES), required=False
    )
    events = BoundedListField(child=StrictCharField(max_length=MAX_NAME_LENGTH), max_length=MAX_EVENTS, required=False)


class InstallationInput(InstallationChanges):
    """A public command to install. Without `scopes` or `events`, all of them are allowed."""

    command_uuid = UUIDField()
    scopes = BoundedListField(
        child=StrictChoiceField(choices=INSTALLABLE_SCOPES),
        max_length=len(INSTALLABLE_SCOPES),
        default=lambda: list(INSTALLABLE_SCOPES),
    )
    events = BoundedListField(
        child=StrictCharField(max_length=MAX_NAME_LENGTH), max_length=MAX_EVENTS, default=lambda: ["*"]
    )


class InstalledCommandOutput(Output[Command]):
    uuid = serializers.UUIDField()
    name = serializers.CharField()
    organization_name = serializers.CharField(source="organization.name")


class InstallationOutput(Output[Installation]):
    """A public command that the organization has installed."""

    uuid = serializers.UUIDField()
    command = InstalledCommandOutput()
    scopes = serializers.ListField(child=serializers.CharField())
    events = serializers.ListField(child=serializers.CharField())
    installed_at = InstantField()


class InstalledHookOutput(Output[Hook]):
    """A hook of the command for events of the organization."""

    hook_uuid = serializers.IntegerField(source="pk")
    user_uuid = serializers.UUIDField(source="user.uuid", allow_null=True)
    subscriptions = serializers.ListField(child=serializers.CharField())
    subscribed_objects = serializers.ListField(child=serializers.CharField())
    created_at = InstantField()
