"""`/v1/platform/installations/`."""

from __future__ import annotations

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
from commands_platform.lib.http.pagination import ListQuery, paginate
from commands_platform.lib.http.routes import find_by_uuid
from events.models import Hook
from installations import openapi, services
from installations.errors import AlreadyInstalledError
from installations.serializers import (
    InstallationChanges,
    InstallationInput,
    InstallationOutput,
    InstalledHookOutput,
)
from organizations.models import Installation, InstallationQuerySet


class InstallationList(PlatformView):
    required_scope = Scope.MANAGE
    error_statuses = {AlreadyInstalledError: status.HTTP_409_CONFLICT}

    @extend_schema(operation_id="list_installations", parameters=[ListQuery], responses=page_of(InstallationOutput))
    @raises(UnknownParameterError)
    def get(self, request: ApiRequest) -> Response:
        """Lists the public commands that the key's organization has installed, newest first."""
        query = read_query(ListQuery, request)
        return Response(paginate(request, _visible(request.context), query, render=InstallationOutput.render_many))

    @extend_schema(
        operation_id="install_command",
        request=InstallationInput,
        responses={201: InstallationOutput},
        examples=openapi.INSTALL_EXAMPLES,
    )
    @raises(AlreadyInstalledError)
    def post(self, request: ApiRequest) -> Response:
        """Installs another organization's public command. It may then act for this organization's users."""
        values = read_body(InstallationInput, request)
        installation = services.install_command(organization=request.context.organization, **values)
        return Response(InstallationOutput.render(installation), status=status.HTTP_201_CREATED)


class InstallationDetail(PlatformView):
    required_scope = Scope.MANAGE

    @extend_schema(operation_id="get_installation", responses=InstallationOutput)
    def get(self, request: ApiRequest, uuid: str) -> Response:
        """Shows one installation."""
        return Response(InstallationOutput.render(_find(request.context, uuid)))

    @extend_schema(
        operation_id="change_installation",
        request=InstallationChanges,
        responses=InstallationOutput,
        examples=openapi.CHANGE_EXAMPLES,
    )
    def patch(self, request: ApiRequest, uuid: str) -> Response:
        """Changes the scopes and events that the command is allowed to use in this organization."""
        installation = _find(request.context, uuid)
        values = read_body(InstallationChanges, request)
        return Response(InstallationOutput.render(services.change_installation(installation=installation, **values)))

    @extend_schema(operation_id="remove_installation", responses={204: None})
    def delete(self, request: ApiRequest, uuid: str) -> Response:
        """Removes the command. Its tokens are void at once. Its schedules, hooks and unsent deliveries end soon."""
        services.remove_installation(installation=_find(request.context, uuid))
        return Response(status=status.HTTP_204_NO_CONTENT)


class InstalledHookList(PlatformView):
    required_scope = Scope.MANAGE

    @extend_schema(operation_id="list_installed_hooks", parameters=[ListQuery], responses=page_of(InstalledHookOutput))
    @raises(UnknownParameterError)
    def get(self, request: ApiRequest, uuid: str) -> Response:
        """Lists the command's hooks for events of this organization."""
        installation = _find(request.context, uuid)
        query = read_query(ListQuery, request)
        hooks = Hook.objects.filter(organization=installation.organization_id, command=installation.command_id)
        return Response(paginate(request, hooks.select_related("user"), query, render=InstalledHookOutput.render_many))


def _visible(context: CallerContext) -> InstallationQuerySet:
    installations = Installation.objects.current().filter(organization=context.organization)
    return installations.select_related("command__organization")


def _find(context: CallerContext, uuid: str) -> Installation:
    """Returns an installation of the key's organization. Raises NotFoundError for any other."""
    return find_by_uuid(_visible(context), uuid)
