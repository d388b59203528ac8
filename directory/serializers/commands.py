"""The bodies of the endpoints for commands."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from commands_platform.lib.http.fields import InstantField, StrictBooleanField, StrictCharField, StrictIntegerField
from commands_platform.lib.http.filters import BooleanFilter, SearchFilter
from commands_platform.lib.http.outputs import NullIfEmptyField, Output
from commands_platform.lib.http.pagination import ListQuery
from organizations.models import Command
from organizations.services import ROTATION_OVERLAP

MAX_COMMAND_NAME_LENGTH = 100
MAX_URL_LENGTH = 2048
# In seconds.
DEFAULT_OVERLAP = int(ROTATION_OVERLAP.total_seconds())
MAX_OVERLAP = 30 * 86_400


class CommandQuery(ListQuery):
    """The filters of the list of commands."""

    is_active = BooleanFilter()
    is_public = BooleanFilter()
    q = SearchFilter("name", help_text="A part of the name.")


class CommandChanges(serializers.Serializer[Command]):
    """The fields of a command that can be changed. All are optional."""

    name = StrictCharField(max_length=MAX_COMMAND_NAME_LENGTH, required=False)
    callback_url = StrictCharField(
        max_length=MAX_URL_LENGTH,
        null_is_empty=True,
        help_text="Where callbacks go, unless a schedule has its own URL.",
    )
    is_public = StrictBooleanField(required=False, help_text="Other organizations may install it.")
    is_active = StrictBooleanField(required=False)


class CommandInput(CommandChanges):
    """A new command. Only the name is required."""

    name = StrictCharField(max_length=MAX_COMMAND_NAME_LENGTH)


class RotationInput(serializers.Serializer[Any]):
    overlap_seconds = StrictIntegerField(
        min_value=0, max_value=MAX_OVERLAP, default=DEFAULT_OVERLAP, help_text="How long the old one stays valid."
    )


class ManagedCommandOutput(Output[Command]):
    """A command, without its secrets."""

    uuid = serializers.UUIDField()
    name = serializers.CharField()
    callback_url = NullIfEmptyField()
    is_public = serializers.BooleanField()
    is_active = serializers.BooleanField()
    created_at = InstantField()
    previous_secret_expires_at = InstantField(
        allow_null=True, help_text="Until then, callbacks are also signed with the previous secret."
    )
    previous_signature_expires_at = InstantField(
        allow_null=True, help_text="Until then, callbacks carry the previous static signature."
    )


class CreatedCommandOutput(ManagedCommandOutput):
    """A new command, with the secrets that no later answer shows."""

    signing_secret = serializers.CharField()
    signature = serializers.CharField()


class RotatedSecretOutput(Output[Command]):
    """The new signing secret. No later answer shows it."""

    signing_secret = serializers.CharField()
    previous_secret_expires_at = InstantField(allow_null=True)


class RotatedSignatureOutput(Output[Command]):
    """The new static signature. No later answer shows it."""

    signature = serializers.CharField()
    previous_signature_expires_at = InstantField(allow_null=True)
