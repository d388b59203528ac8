"""The bodies of the token endpoint, and outputs of a user and an organization."""

from __future__ import annotations

from rest_framework import serializers

from commands_platform.lib.http.fields import InstantField, StrictBooleanField, UUIDField
from commands_platform.lib.http.outputs import Output
from organizations.models import Organization, User


class ExchangeTokenInput(serializers.Serializer[User]):
    user_uuid = UUIDField()
    include_user_context = StrictBooleanField(default=False)
    include_expiry = StrictBooleanField(default=False)


class UserOutput(Output[User]):
    """A user. If the user has no time zone, `timezone` is the organization's."""

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
    """An exchange token, and with `include_user_context` its user and the user's organization."""

    token = serializers.CharField()
    expires_at = InstantField(required=False)
    user = UserOutput(required=False)
    organization = OrganizationOutput(required=False)
