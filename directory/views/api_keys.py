"""`/v1/platform/api-keys/`."""

from __future__ import annotations

from datetime import timedelta

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.response import Response

from auth_tokens import services
from auth_tokens.api import ApiRequest, PlatformView
from auth_tokens.errors import KeyRevokedError
from auth_tokens.models import ApiKey, CallerContext
from auth_tokens.scopes import Scope
from commands_platform.lib.errors import UnknownParameterError
from commands_platform.lib.http.error_responses import raises
from commands_platform.lib.http.inputs import read_body, read_query
from commands_platform.lib.http.outputs import page_of
from commands_platform.lib.http.pagination import paginate
from commands_platform.lib.http.routes import find_by_uuid
from directory import openapi
from directory.parties import party_of
from directory.serializers.api_keys import (
    ApiKeyChanges,
    ApiKeyInput,
    ApiKeyOutput,
    ApiKeyQuery,
    CreatedApiKeyOutput,
    KeyRotationInput,
    RevocationInput,
)


class ApiKeyList(PlatformView):
    required_scope = Scope.MANAGE

    @extend_schema(operation_id="list_api_keys", parameters=[ApiKeyQuery], responses=page_of(ApiKeyOutput))
    @raises(UnknownParameterError)
    def get(self, request: ApiRequest) -> Response:
        """Lists the API keys of the organization, newest first, with those that are expired or revoked."""
        query = read_query(ApiKeyQuery, request)
        return Response(paginate(request, _keys(request.context), query, render=ApiKeyOutput.render_many))

    @extend_schema(
        operation_id="create_api_key",
        request=ApiKeyInput,
        responses={201: CreatedApiKeyOutput},
        examples=openapi.KEY_EXAMPLES,
    )
    def post(self, request: ApiRequest) -> Response:
        """Makes an API key. Only this answer shows it. It cannot have scopes that your own key lacks."""
        values = read_body(ApiKeyInput, request)
        party = party_of(
            request.context.organization,
            command_uuid=values.pop("command_uuid"),
            owner_uuid=values.pop("owner_uuid"),
        )
        made, key = services.create_api_key(
            organization=request.context.organization, giver=request.context.api_key, **party, **values
        )
        return _created(made, key)


class ApiKeyDetail(PlatformView):
    required_scope = Scope.MANAGE
    error_statuses = {KeyRevokedError: status.HTTP_409_CONFLICT}

    @extend_schema(operation_id="get_api_key", responses=ApiKeyOutput)
    def get(self, request: ApiRequest, uuid: str) -> Response:
        """Shows one API key, without the key itself."""
        return Response(ApiKeyOutput.render(find_by_uuid(_keys(request.context), uuid)))

    @extend_schema(
        operation_id="change_api_key",
        request=ApiKeyChanges,
        responses=ApiKeyOutput,
        examples=openapi.KEY_CHANGE_EXAMPLES,
    )
    @raises(KeyRevokedError)
    def patch(self, request: ApiRequest, uuid: str) -> Response:
        """Changes the name, scopes, networks or expiry of a key. You cannot add scopes that your own key lacks."""
        api_key = find_by_uuid(_keys(request.context), uuid)
        changes = read_body(ApiKeyChanges, request)
        changed = services.change_api_key(api_key=api_key, changes=changes, giver=request.context.api_key)
        return Response(ApiKeyOutput.render(changed))


class ApiKeyRotation(PlatformView):
    required_scope = Scope.MANAGE
    error_statuses = {KeyRevokedError: status.HTTP_409_CONFLICT}

    @extend_schema(
        operation_id="rotate_api_key",
        request=KeyRotationInput,
        responses={201: CreatedApiKeyOutput},
        examples=openapi.ROTATION_EXAMPLES,
    )
    @raises(KeyRevokedError)
    def post(self, request: ApiRequest, uuid: str) -> Response:
        """Makes a key with the same scopes that replaces this one, which expires after the overlap."""
        values = read_body(KeyRotationInput, request)
        made, key = services.rotate_api_key(
            api_key=find_by_uuid(_keys(request.context), uuid),
            overlap=timedelta(seconds=values["overlap_seconds"]),
            expires_at=values["expires_at"],
            giver=request.context.api_key,
        )
        return _created(made, key)


class ApiKeyRevocation(PlatformView):
    required_scope = Scope.MANAGE

    @extend_schema(
        operation_id="revoke_api_key",
        request=RevocationInput,
        responses={200: ApiKeyOutput},
        examples=openapi.REVOCATION_EXAMPLES,
    )
    def post(self, request: ApiRequest, uuid: str) -> Response:
        """Revokes a key at once and for good. With `pause_schedules`, what it has scheduled stops within seconds."""
        api_key = find_by_uuid(_keys(request.context), uuid)
        revoked = services.revoke_api_key(api_key=api_key, **read_body(RevocationInput, request))
        return Response(ApiKeyOutput.render(revoked))


def _keys(context: CallerContext) -> QuerySet[ApiKey]:
    keys = ApiKey.objects.filter(organization=context.organization).order_by("-pk")
    return keys.select_related("organization", "command", "owner", "replaces")


def _created(made: ApiKey, key: str) -> Response:
    body = {**ApiKeyOutput.render(made), "key": key}
    return Response(body, status=status.HTTP_201_CREATED, headers={"Cache-Control": "no-store"})
