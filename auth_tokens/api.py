"""What every endpoint is built on: a view for a request that has passed authentication."""

from __future__ import annotations

from typing import Any, ClassVar, cast

from django.http import HttpRequest
from rest_framework.request import Request
from rest_framework.views import APIView

from auth_tokens.errors import MissingTokenError
from auth_tokens.models import CallerContext, TokenSubject
from auth_tokens.scopes import Scope


class ApiRequest(Request):
    """A request with its CallerContext."""

    @property
    def context(self) -> CallerContext:
        return cast("CallerContext", self.auth)


class PlatformView(APIView):
    """An endpoint of the API: JSON, for a key that has `required_scope`."""

    required_scope: ClassVar[Scope | None] = None

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> ApiRequest:
        return ApiRequest(
            request,
            parsers=self.get_parsers(),
            authenticators=self.get_authenticators(),
            negotiator=self.get_content_negotiator(),
            parser_context=self.get_parser_context(request),
        )


def required_token(context: CallerContext) -> TokenSubject:
    """The request's exchange token, or MissingTokenError."""
    if context.token is None:
        raise MissingTokenError
    return context.token
