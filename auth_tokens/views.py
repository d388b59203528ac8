"""The view of the token endpoint."""

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
from auth_tokens.serializers import ExchangeTokenInput, ExchangeTokenOutput
from commands_platform.lib.http.error_responses import raises
from commands_platform.lib.http.inputs import read_body


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
