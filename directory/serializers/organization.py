"""The bodies of the endpoints for the key, its organization and the users."""

from __future__ import annotations

from rest_framework import serializers

from auth_tokens.models import CallerContext
from auth_tokens.serializers import OrganizationOutput, UserOutput
from commands_platform.lib.http.fields import StrictBooleanField, StrictCharField, StrictChoiceField
from commands_platform.lib.http.outputs import Output
from organizations.models import Command, User

MAX_USER_NAME_LENGTH = 200
MAX_EMAIL_LENGTH = 254
MAX_ZONE_LENGTH = 64


class UserChanges(serializers.Serializer[User]):
    """The fields of a user that can be changed. All are optional."""

    full_name = StrictCharField(max_length=MAX_USER_NAME_LENGTH, required=False)
    email = StrictCharField(max_length=MAX_EMAIL_LENGTH, null_is_empty=True)
    role = StrictChoiceField(choices=User.Role.choices, required=False)
    timezone = StrictCharField(
        max_length=MAX_ZONE_LENGTH, null_is_empty=True, help_text="An IANA name. Null: that of the organization."
    )
    is_active = StrictBooleanField(required=False)


class UserInput(UserChanges):
    """A new user. Only the name is required."""

    full_name = StrictCharField(max_length=MAX_USER_NAME_LENGTH)


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
