"""`/v1/me/`, `/v1/organization/` and `/v1/users/`."""

from __future__ import annotations

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.response import Response

from auth_tokens.api import ApiRequest, PlatformView
from auth_tokens.models import CallerContext
from auth_tokens.scopes import Scope
from auth_tokens.serializers import OrganizationOutput, UserOutput
from commands_platform.lib.http.inputs import read_body, read_query
from commands_platform.lib.http.outputs import page_of
from commands_platform.lib.http.pagination import PageQuery, paginate
from commands_platform.lib.http.routes import find_by_uuid
from directory import openapi
from directory.serializers.organization import MeOutput, UserChanges, UserInput
from organizations.models import User
from organizations.services import change_in_directory, create_in_directory


class Me(PlatformView):
    required_scope = Scope.DIRECTORY

    @extend_schema(operation_id="get_me", responses=MeOutput)
    def get(self, request: ApiRequest) -> Response:
        """Shows the owner of the key, what the key may do, and the user of the exchange token if there is one."""
        return Response(MeOutput.render(request.context))


class OrganizationDetail(PlatformView):
    required_scope = Scope.DIRECTORY

    @extend_schema(operation_id="get_organization", responses=OrganizationOutput)
    def get(self, request: ApiRequest) -> Response:
        """Shows the API key's organization."""
        return Response(OrganizationOutput.render(request.context.organization))


class UserList(PlatformView):
    required_scope = Scope.DIRECTORY
    scope_to_change = Scope.MANAGE

    @extend_schema(operation_id="list_users", parameters=[PageQuery], responses=page_of(UserOutput))
    def get(self, request: ApiRequest) -> Response:
        """Lists the users of the API key's organization."""
        query = read_query(PageQuery, request, ignore_unknown=True)
        return Response(paginate(request, _users(request.context), query, render=UserOutput.render_many))

    @extend_schema(
        operation_id="create_user",
        request=UserInput,
        responses={201: UserOutput},
        examples=openapi.USER_EXAMPLES,
    )
    def post(self, request: ApiRequest) -> Response:
        """Creates a user in the API key's organization."""
        user = User(organization=request.context.organization, **read_body(UserInput, request))
        return Response(UserOutput.render(create_in_directory(row=user)), status=status.HTTP_201_CREATED)


class UserDetail(PlatformView):
    required_scope = Scope.DIRECTORY
    scope_to_change = Scope.MANAGE

    @extend_schema(operation_id="get_user", responses=UserOutput)
    def get(self, request: ApiRequest, uuid: str) -> Response:
        """Shows one user of the API key's organization."""
        return Response(UserOutput.render(find_by_uuid(_users(request.context), uuid)))

    @extend_schema(
        operation_id="change_user",
        request=UserChanges,
        responses=UserOutput,
        examples=openapi.USER_CHANGE_EXAMPLES,
    )
    def patch(self, request: ApiRequest, uuid: str) -> Response:
        """Changes a user. For an inactive user nothing runs, and exchange tokens are void."""
        user = find_by_uuid(_users(request.context), uuid)
        changed = change_in_directory(row=user, changes=read_body(UserChanges, request))
        return Response(UserOutput.render(changed))


def _users(context: CallerContext) -> QuerySet[User]:
    return User.objects.filter(organization=context.organization).select_related("organization")
