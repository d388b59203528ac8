"""The bodies of the token endpoint and of the directory."""

from __future__ import annotations

from rest_framework import serializers

from auth_tokens.models import CallerContext
from commands_platform.lib.http.fields import InstantField, StrictBooleanField, UUIDField
from commands_platform.lib.http.outputs import Output
from organizations.models import Command, Organization, User


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


class CommandOutput(Output[Command]):
    uuid = serializers.UUIDField()
    name = serializers.CharField()


class MeOutput(Output[CallerContext]):
    """The owner of the key, in DailyBot's flat shape, and what the key may do.

    A key without an owner shows its own name, or else the name of its command or organization.
    """

    uuid = serializers.UUIDField(source="api_key.owner.uuid", allow_null=True)
    full_name = serializers.CharField()
    email = serializers.CharField()
    role = serializers.CharField(source="api_key.owner.role", allow_null=True)
    timezone = serializers.CharField()
    is_active = serializers.BooleanField()
    organization_uuid = serializers.UUIDField(source="organization.uuid")
    organization_name = serializers.CharField(source="organization.name")
    organization = OrganizationOutput()
    user = serializers.CharField(help_text="The full name.")
    command = CommandOutput(source="api_key.command", allow_null=True)
    scopes = serializers.ListField(source="api_key.scopes", child=serializers.CharField())
    token_user = UserOutput(allow_null=True)

    @staticmethod
    def get_full_name(context: CallerContext) -> str:
        api_key = context.api_key
        if api_key.owner is not None:
            return api_key.owner.full_name
        return api_key.name or (api_key.command.name if api_key.command else context.organization.name)

    get_user = get_full_name

    @staticmethod
    def get_email(context: CallerContext) -> str:
        return context.api_key.owner.email if context.api_key.owner else ""

    @staticmethod
    def get_timezone(context: CallerContext) -> str:
        owner = context.api_key.owner
        return (owner.timezone if owner else "") or context.organization.timezone

    @staticmethod
    def get_is_active(context: CallerContext) -> bool:
        return context.api_key.owner is None or context.api_key.owner.is_active

    @staticmethod
    def get_token_user(context: CallerContext) -> User | None:
        # A void token has no user here, and a header of the answer says why it is void.
        return context.required_token().user if context.has_token else None
