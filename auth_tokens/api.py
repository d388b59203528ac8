"""The base class of the API's views, and the request that they handle."""

from __future__ import annotations

from typing import Any, ClassVar, cast

from django.http import HttpRequest
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from auth_tokens.models import CallerContext
from auth_tokens.scopes import Scope
from commands_platform.lib.http.unknown_fields import NamesIgnoredFields

TOKEN_STATUS_HEADER = "X-Exchange-Token-Status"  # noqa: S105


class ApiRequest(Request):
    """A request with its CallerContext."""

    def __init__(self, request: HttpRequest, **options: Any) -> None:
        super().__init__(request, **options)
        # REST framework would find it by a failed lookup each time.
        self.META = request.META

    @property
    def context(self) -> CallerContext:
        return cast("CallerContext", self.auth)


class PlatformView(NamesIgnoredFields):
    """An endpoint of the API, for keys that have `required_scope`."""

    required_scope: ClassVar[Scope | None] = None

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> ApiRequest:
        return ApiRequest(
            request,
            parsers=self.get_parsers(),
            authenticators=self.get_authenticators(),
            negotiator=self.get_content_negotiator(),
            parser_context=self.get_parser_context(request),
        )

    def options(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Response:
        """Answers without a body. The header `Allow` lists the methods, as in every answer."""
        return Response(status=status.HTTP_204_NO_CONTENT)

    def finalize_response(self, request: Request, response: Response, *args: Any, **kwargs: Any) -> Response:
        """Adds the header that says why the exchange token is void, to errors too."""
        # `request.auth` would repeat an authentication that has failed.
        context = vars(request).get("_auth")
        if isinstance(context, CallerContext) and context.void_token is not None:
            response.headers[TOKEN_STATUS_HEADER] = context.void_token.value
        return super().finalize_response(request, response, *args, **kwargs)
