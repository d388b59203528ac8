"""Middleware for pages with a login. Requests to the API skip it, because the API has no sessions and no messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib.auth import middleware as auth
from django.contrib.messages import middleware as messages
from django.contrib.sessions import middleware as sessions
from django.utils.deprecation import MiddlewareMixin

from commands_platform.lib.http.handlers import is_api_path

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from django.http import HttpRequest
    from django.http.response import HttpResponseBase


class _PassedByTheApi(MiddlewareMixin):
    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        return self.get_response(request) if is_api_path(request.path_info) else super().__call__(request)


class SessionMiddleware(_PassedByTheApi, sessions.SessionMiddleware):
    pass


class AuthenticationMiddleware(_PassedByTheApi, auth.AuthenticationMiddleware):
    pass


class MessageMiddleware(_PassedByTheApi, messages.MessageMiddleware):
    pass
