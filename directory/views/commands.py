"""`/v1/platform/commands/`."""

from __future__ import annotations

from datetime import timedelta

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.response import Response

from auth_tokens.api import ApiRequest, PlatformView
from auth_tokens.models import CallerContext
from auth_tokens.scopes import Scope
from commands_platform.lib.errors import UnknownParameterError
from commands_platform.lib.http.error_responses import raises
from commands_platform.lib.http.inputs import read_body, read_query
from commands_platform.lib.http.outputs import page_of
from commands_platform.lib.http.pagination import paginate
from commands_platform.lib.http.routes import find_by_uuid
from directory import openapi
from directory.serializers.commands import (
    CommandChanges,
    CommandInput,
    CommandQuery,
    CreatedCommandOutput,
    ManagedCommandOutput,
    RotatedSecretOutput,
    RotatedSignatureOutput,
    RotationInput,
)
from organizations import services
from organizations.models import Command

_NO_STORE = {"Cache-Control": "no-store"}


class CommandList(PlatformView):
    required_scope = Scope.MANAGE

    @extend_schema(operation_id="list_commands", parameters=[CommandQuery], responses=page_of(ManagedCommandOutput))
    @raises(UnknownParameterError)
    def get(self, request: ApiRequest) -> Response:
        """Lists the commands of the API key's organization by name."""
        query = read_query(CommandQuery, request)
        return Response(paginate(request, _commands(request.context), query, render=ManagedCommandOutput.render_many))

    @extend_schema(
        operation_id="create_command",
        request=CommandInput,
        responses={201: CreatedCommandOutput},
        examples=openapi.COMMAND_EXAMPLES,
    )
    def post(self, request: ApiRequest) -> Response:
        """Creates a command. Only this answer shows its signing secret and its static signature."""
        command = Command(organization=request.context.organization, **read_body(CommandInput, request))
        made = services.create_in_directory(row=command)
        return Response(CreatedCommandOutput.render(made), status=status.HTTP_201_CREATED, headers=_NO_STORE)


class CommandDetail(PlatformView):
    required_scope = Scope.MANAGE

    @extend_schema(operation_id="get_command", responses=ManagedCommandOutput)
    def get(self, request: ApiRequest, uuid: str) -> Response:
        """Shows one command of the API key's organization."""
        return Response(ManagedCommandOutput.render(find_by_uuid(_commands(request.context), uuid)))

    @extend_schema(
        operation_id="change_command",
        request=CommandChanges,
        responses=ManagedCommandOutput,
        examples=openapi.COMMAND_CHANGE_EXAMPLES,
    )
    def patch(self, request: ApiRequest, uuid: str) -> Response:
        """Changes a command. While it is inactive, its keys and tokens do not work, and its runs are skipped."""
        command = find_by_uuid(_commands(request.context), uuid)
        changed = services.change_in_directory(row=command, changes=read_body(CommandChanges, request))
        return Response(ManagedCommandOutput.render(changed))


class SecretRotation(PlatformView):
    required_scope = Scope.MANAGE

    @extend_schema(
        operation_id="rotate_signing_secret",
        request=RotationInput,
        responses={200: RotatedSecretOutput},
        examples=openapi.ROTATION_EXAMPLES,
    )
    def post(self, request: ApiRequest, uuid: str) -> Response:
        """Gives the command a new signing secret. During the overlap, callbacks are signed with both."""
        command = find_by_uuid(_commands(request.context), uuid)
        rotated = services.rotate_signing_secret(command=command, overlap=_overlap(request))
        return Response(RotatedSecretOutput.render(rotated), headers=_NO_STORE)


class SignatureRotation(PlatformView):
    required_scope = Scope.MANAGE

    @extend_schema(
        operation_id="rotate_static_signature",
        request=RotationInput,
        responses={200: RotatedSignatureOutput},
        examples=openapi.ROTATION_EXAMPLES,
    )
    def post(self, request: ApiRequest, uuid: str) -> Response:
        """Gives the command a new static signature. During the overlap, callbacks carry both."""
        command = find_by_uuid(_commands(request.context), uuid)
        rotated = services.rotate_static_signature(command=command, overlap=_overlap(request))
        return Response(RotatedSignatureOutput.render(rotated), headers=_NO_STORE)


class CommandTokenRevocation(PlatformView):
    required_scope = Scope.MANAGE

    @extend_schema(operation_id="revoke_tokens_of_command", request=None, responses={204: None})
    def post(self, request: ApiRequest, uuid: str) -> Response:
        """Revokes every exchange token of the command. It can fetch new ones."""
        services.revoke_tokens_of_command(command=find_by_uuid(_commands(request.context), uuid))
        return Response(status=status.HTTP_204_NO_CONTENT)


def _commands(context: CallerContext) -> QuerySet[Command]:
    return Command.objects.filter(organization=context.organization)


def _overlap(request: ApiRequest) -> timedelta:
    return timedelta(seconds=read_body(RotationInput, request)["overlap_seconds"])
