"""The bodies of the endpoints for API keys."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from auth_tokens.models import ApiKey
from auth_tokens.networks import MAX_NETWORKS
from auth_tokens.scopes import Scope
from commands_platform.lib.http.fields import (
    BoundedListField,
    InstantField,
    StrictBooleanField,
    StrictCharField,
    StrictChoiceField,
    UUIDField,
)
from commands_platform.lib.http.filters import ChoiceFilter, SearchFilter, UUIDFilter
from commands_platform.lib.http.outputs import Output
from commands_platform.lib.http.pagination import ListQuery
from directory.serializers.commands import RotationInput

MAX_KEY_NAME_LENGTH = 100
MAX_NETWORK_LENGTH = 64


def _scopes(**options: Any) -> BoundedListField:
    child = StrictChoiceField(choices=Scope.choices)
    return BoundedListField(child=child, max_length=len(Scope), allow_empty=False, **options)


def _networks(**options: Any) -> BoundedListField:
    return BoundedListField(
        child=StrictCharField(max_length=MAX_NETWORK_LENGTH),
        max_length=MAX_NETWORKS,
        help_text="Where the key may be used from, in CIDR notation. If empty, everywhere.",
        **options,
    )


class ApiKeyQuery(ListQuery):
    """The filters of the list of keys."""

    scope = ChoiceFilter("scopes", operator="overlap", choices=Scope.choices)
    command_uuid = UUIDFilter("command__uuid", help_text="The command that a key is bound to.")
    owner_uuid = UUIDFilter("owner__uuid", help_text="The owner.")
    q = SearchFilter("name", help_text="A part of the name.")


class ApiKeyChanges(serializers.Serializer[ApiKey]):
    """The fields of a key that can be changed. All are optional."""

    name = StrictCharField(max_length=MAX_KEY_NAME_LENGTH, required=False)
    scopes = _scopes(required=False)
    allowed_networks = _networks(required=False)
    expires_at = InstantField(required=False, allow_null=True, help_text="Null: never.")


class ApiKeyInput(serializers.Serializer[ApiKey]):
    """A new key. Name and scopes are required."""

    name = StrictCharField(max_length=MAX_KEY_NAME_LENGTH)
    scopes = _scopes()
    command_uuid = UUIDField(
        required=False, allow_null=True, default=None, help_text="The command that the key is bound to."
    )
    owner_uuid = UUIDField(required=False, allow_null=True, default=None, help_text="The user that /v1/me/ shows.")
    allowed_networks = _networks(default=list)
    expires_at = InstantField(required=False, allow_null=True, default=None, help_text="Null: never.")


class KeyRotationInput(RotationInput):
    expires_at = InstantField(
        required=False,
        allow_null=True,
        default=None,
        help_text="When the new key expires. Without it, the new key lives as long as the old one was made for.",
    )


class RevocationInput(serializers.Serializer[Any]):
    pause_schedules = StrictBooleanField(
        default=False, help_text="Also deactivates the schedules that the key, and those that it replaced, have made."
    )


class ApiKeyOutput(Output[ApiKey]):
    """An API key, without the key itself."""

    uuid = serializers.UUIDField()
    name = serializers.CharField()
    prefix = serializers.CharField(help_text="The key begins with `cmdp_` and this.")
    scopes = serializers.ListField(child=serializers.CharField())
    command_uuid = serializers.UUIDField(source="command.uuid", allow_null=True)
    owner_uuid = serializers.UUIDField(source="owner.uuid", allow_null=True)
    allowed_networks = serializers.ListField(child=serializers.CharField())
    replaces_uuid = serializers.UUIDField(
        source="replaces.uuid", allow_null=True, help_text="The key that was rotated when this one was made."
    )
    created_at = InstantField()
    expires_at = InstantField(allow_null=True)
    revoked_at = InstantField(allow_null=True)
    last_used_at = InstantField(allow_null=True, help_text="To the minute.")


class CreatedApiKeyOutput(ApiKeyOutput):
    """A new key. Only this answer shows the key itself."""

    key = serializers.CharField()
