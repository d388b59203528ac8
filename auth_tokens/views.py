"""The views of the token endpoint and of the directory."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.response import Response

from auth_tokens import openapi, services
from auth_tokens.api import ApiRequest, PlatformView
from auth_tokens.errors import (
    CommandNotPublicError,
    ExchangeNotPossibleError,
    KeyWithoutCommandError,
    UnknownUserError,
)
from auth_tokens.scopes import Scope
from auth_tokens.serializers import (
    ExchangeTokenInput,
    ExchangeTokenOutput,
    MeOutput,
    OrganizationOutput,
    UserOutput,
)
from commands_platform.lib.errors import NotFoundError
from commands_platform.lib.http.error_responses import raises
from commands_platform.lib.http.inputs import read_body, read_query
from commands_platform.lib.http.outputs import page_of
from commands_platform.lib.http.pagination import PageQuery, paginate
from commands_platform.lib.http.routes import uuid_or_not_found
from organizations.models import User


class FetchExchangeToken(PlatformView):
    required_scope = Scope.AUTH_FETCH_EXCHANGE_TOKEN
    # The original API documents status 406, without a code.
    error_statuses = {ExchangeNotPossibleError: status.HTTP_406_NOT_ACCEPTABLE}

    @extend_schema(
        operation_id="fetch_exchange_token",
        request=ExchangeTokenInput,
        responses={200: ExchangeTokenOutput},
        examples=openapi.TOKEN_EXAMPLES,
    )
    @raises(KeyWithoutCommandError, UnknownUserError, CommandNotPublicError)
    def post(self, request: ApiRequest) -> Response:
        """Makes a token that lets the API key's command act as a user."""
        values = read_body(ExchangeTokenInput, request)
        fetched = services.fetch_exchange_token(context=request.context, user_uuid=values["user_uuid"])
        more: dict[str, object] = {}
        if values["include_expiry"]:
            more["expires_at"] = fetched.expires_at
        if values["include_user_context"]:
            more |= {"user": fetched.user, "organization": fetched.user.organization}
        return Response(ExchangeTokenOutput.of(token=fetched.token, **more), headers={"Cache-Control": "no-store"})


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

    @extend_schema(
        operation_id="list_users",
        parameters=[PageQuery],
        responses=page_of(UserOutput),
    )
    def get(self, request: ApiRequest) -> Response:
        """Lists the users of the API key's organization."""
        users = User.objects.filter(organization=request.context.organization).select_related("organization")
        query = read_query(PageQuery, request, ignore_unknown=True)
        return Response(paginate(request, users, query, render=UserOutput.render_many))


class UserDetail(PlatformView):
    required_scope = Scope.DIRECTORY

    @extend_schema(operation_id="get_user", responses=UserOutput)
    def get(self, request: ApiRequest, uuid: str) -> Response:
        """Shows one user of the API key's organization."""
        users = User.objects.filter(organization=request.context.organization).select_related("organization")
        user = users.filter(uuid=uuid_or_not_found(uuid)).first()
        if user is None:
            raise NotFoundError
        return Response(UserOutput.render(user))
