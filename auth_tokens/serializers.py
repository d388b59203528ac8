"""Bodies of the token endpoint and of the directory."""

from __future__ import annotations

from rest_framework import serializers

from commands_platform.lib.http.fields import InstantField, StrictBooleanField, UUIDField
from commands_platform.lib.http.outputs import Output
from organizations.models import Command, Organization, User


class ExchangeTokenInput(serializers.Serializer[User]):
    user_uuid = UUIDField()
    include_user_context = StrictBooleanField(default=False)
    include_expiry = StrictBooleanField(default=False)


class UserOutput(Output[User]):
    """A person. Without a zone of their own, `timezone` is their organization's."""

    uuid = serializers.UUIDField()
    full_name = serializers.CharField()
    email = serializers.CharField()
    role = serializers.CharField()
    is_active = serializers.BooleanField()
    timezone = serializers.CharField(source="zone")


class OrganizationOutput(Output[Organization]):
    uuid = serializers.UUIDField()
    name = serializers.CharField()
    timezone = serializers.CharField()
    is_active = serializers.BooleanField()


class ExchangeTokenOutput(Output[User]):
    """An exchange token; with `include_user_context`, its user and that user's organization too."""

    token = serializers.CharField()
    expires_at = InstantField(required=False)
    user = UserOutput(required=False)
    organization = OrganizationOutput(required=False)


class CommandOutput(Output[Command]):
    uuid = serializers.UUIDField()
    name = serializers.CharField()


class ApiKeyOwnerOutput(Output[Organization]):
    """Whom an API key speaks for."""

    organization = OrganizationOutput()
    command = CommandOutput(allow_null=True)
    scopes = serializers.ListField(child=serializers.CharField())
    user = UserOutput(allow_null=True)
