"""The base class of the API's views, and the request that they handle."""

from __future__ import annotations

from typing import Any, ClassVar, cast

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from rest_framework import status
from rest_framework.exceptions import AuthenticationFailed, NotAuthenticated, Throttled
from rest_framework.request import Request
from rest_framework.response import Response

from audit.actors import Actor, acting_as
from audit.kinds import ActorKind
from auth_tokens.idempotency import KeyedRequest, ReplayedAnswerError
from auth_tokens.models import ApiKey, CallerContext
from auth_tokens.scopes import Scope
from commands_platform.lib.http.client_address import client_address, network_of
from commands_platform.lib.http.idempotency import IDEMPOTENCY_META, IDEMPOTENT_METHODS
from commands_platform.lib.http.rate_limits import Allowance, process_limiter
from commands_platform.lib.http.unknown_fields import NamesIgnoredFields
from commands_platform.lib.rates import Rate, per_minute

TOKEN_STATUS_HEADER = "X-Exchange-Token-Status"  # noqa: S105


# The requests of one client address whose key is missing or not valid.
_WITHOUT_KEY = Rate(30, 60)


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
    scope_to_change: ClassVar[Scope | None] = None
    """The scope for methods that change something, if it is another one."""
    _keyed: KeyedRequest | None = None
    _allowance: Allowance | None = None

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        with acting_as(lambda: _actor_of(self.request)):
            return self._answer(request, *args, **kwargs)

    def _answer(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if IDEMPOTENCY_META not in request.META or request.method not in IDEMPOTENT_METHODS:
            return super().dispatch(request, *args, **kwargs)
        with KeyedRequest() as self._keyed:
            response = cast("Response", super().dispatch(request, *args, **kwargs))
            try:
                self._keyed.finish(response)
            except Exception as error:  # noqa: BLE001  # REST framework raises those again that it cannot answer
                response = self.finalize_response(self.request, self.handle_exception(error), *args, **kwargs)
            return response

    def perform_authentication(self, request: Request) -> None:
        super().perform_authentication(request)
        if request.auth is not None:
            self._count_request(cast("ApiRequest", request).context.api_key)

    def _count_request(self, api_key: ApiKey) -> None:
        """Raises Throttled if the key has had its requests for now."""
        rate = settings.API_RATE_LIMIT if api_key.rate_limit is None else per_minute(api_key.rate_limit)
        if rate is not None:
            self._take(f"key/{api_key.pk}", rate)

    def _take(self, caller: str, rate: Rate) -> None:
        self._allowance = process_limiter().take(caller, rate)
        if self._allowance is not None and self._allowance.wait:
            raise Throttled(self._allowance.wait)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if self._keyed is not None:
            self._keyed.begin(request, cast("ApiRequest", request).context)

    def handle_exception(self, exc: Exception) -> Response:
        if isinstance(exc, ReplayedAnswerError):
            return exc.response
        if isinstance(exc, NotAuthenticated | AuthenticationFailed):
            try:
                self._take(f"address/{network_of(client_address(self.request.META))}", _WITHOUT_KEY)
            except Throttled as throttled:
                exc = throttled
        return super().handle_exception(exc)

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
        if self._allowance is not None:
            for name, value in self._allowance.headers.items():
                response.headers[name] = value
        return super().finalize_response(request, response, *args, **kwargs)


def _actor_of(request: Request) -> Actor:
    """Returns the API key of an authenticated request, as the audit names it."""
    api_key = cast("CallerContext", request.auth).api_key
    return Actor(ActorKind.API_KEY, str(api_key), uuid=api_key.uuid, address=client_address(request.META))
