"""Authenticates requests by their headers.

REST framework imports this module while it is only half loaded itself, so this module must not import its views.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.permissions import SAFE_METHODS, BasePermission

from auth_tokens import callers
from auth_tokens.errors import AddressNotAllowedError, InvalidApiKeyError
from auth_tokens.models import CallerContext
from auth_tokens.scopes import INSTALLABLE_SCOPES
from commands_platform.lib.http.client_address import client_address

if TYPE_CHECKING:
    from rest_framework.request import Request
    from rest_framework.views import APIView

    from auth_tokens.scopes import Scope


class ApiKeyAuthentication(BaseAuthentication):
    """Reads the headers `X-API-KEY` and `X-EXCHANGE-TOKEN`.

    `request.auth` becomes the CallerContext. There is no `request.user`.
    """

    def authenticate(self, request: Request) -> tuple[None, CallerContext] | None:
        # `request.headers` would first copy all headers.
        key = request.META.get("HTTP_X_API_KEY")
        if not key:
            return None
        try:
            context = callers.find_caller(
                key=key,
                token=request.META.get("HTTP_X_EXCHANGE_TOKEN"),
                address=lambda: client_address(request.META),
            )
        except InvalidApiKeyError as error:
            raise AuthenticationFailed(error.message, code=error.code) from error
        except AddressNotAllowedError as error:
            raise PermissionDenied(error.message, code=error.code) from error
        return None, context

    def authenticate_header(self, request: Request) -> str:
        return 'ApiKey realm="api"'


class HasRequiredScope(BasePermission):
    """Requires that the key and the installation, if there is one, have the scope that the view requires."""

    message: str
    code = "insufficient_scope"
    not_allowed = "The organization has not allowed the command to use this endpoint there"

    def has_permission(self, request: Request, view: APIView) -> bool:
        context = request.auth
        if not isinstance(context, CallerContext):
            return False
        scope: Scope | None = getattr(view, "required_scope", None)
        if request.method not in SAFE_METHODS:
            scope = getattr(view, "scope_to_change", None) or scope
        if scope is None:
            return True
        if scope.value not in context.api_key.scopes:
            self.message = (
                f"The API key lacks the scope {scope.value}, which this endpoint needs. Use a key that has it."
            )
            return False
        # Only endpoints with these scopes act in the token's organization. The others use the key's own.
        if context.has_token and scope.value in INSTALLABLE_SCOPES and not context.required_token().allows(scope):
            self.message = self.not_allowed
            return False
        return True
