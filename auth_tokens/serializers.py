"""Bodies of the token endpoint and of the directory."""

from __future__ import annotations

from rest_framework import serializers

from commands_platform.lib.http.fields import InstantField, StrictBooleanField, UUIDField
from organizations.models import Organization, User


class ExchangeTokenInput(serializers.Serializer[User]):
    user_uuid = UUIDField()
    include_user_context = StrictBooleanField(default=False)
    include_expiry = StrictBooleanField(default=False)


class UserOutput(serializers.Serializer[User]):
    """A person. Without a zone of their own, `timezone` is their organization's."""

    uuid = serializers.UUIDField()
    full_name = serializers.CharField()
    email = serializers.CharField()
    role = serializers.CharField()
    is_active = serializers.BooleanField()
    timezone = serializers.CharField(source="zone")


class OrganizationOutput(serializers.Serializer[Organization]):
    uuid = serializers.UUIDField()
    name = serializers.CharField()
    timezone = serializers.CharField()
    is_active = serializers.BooleanField()


class ExchangeTokenOutput(serializers.Serializer[User]):
    token = serializers.CharField()
    expires_at = InstantField(required=False)
    user = UserOutput(required=False)
    organization = OrganizationOutput(required=False)


class ApiKeyOwnerOutput(serializers.Serializer[Organization]):
    """Whom an API key speaks for."""

    organization = OrganizationOutput()
    command = serializers.DictField(allow_null=True)
    scopes = serializers.ListField(child=serializers.CharField())
    user = UserOutput(allow_null=True)
