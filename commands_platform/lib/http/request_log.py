"""Logs failed requests, each with its id, the client's address, its method and its path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog
from django_structlog.middlewares import RequestMiddleware

from commands_platform.lib.http.client_address import client_address

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse


logger = structlog.get_logger(__name__)

# UUIDs and instants are shorter than this. Keys, tokens and signatures are longer.
MAX_SHOWN_LENGTH = 40
MASK = "…"

_TELLING_NAMES = ("key", "token", "secret", "signature", "password", "auth", "session")


class RequestLogMiddleware(RequestMiddleware):
    """Logs a request if it failed.

    Collecting the caller's address and the rest for successful requests would cost more than all other middleware
    together.
    """

    def prepare(self, request: HttpRequest) -> None:
        """Does nothing. The request has its ids already."""

    @staticmethod
    def format_request(request: HttpRequest) -> str:
        return f"{request.method} {shown_path(request.path_info, request.META.get('QUERY_STRING', ''))}"

    @staticmethod
    def bind_ip(request: HttpRequest) -> None:
        structlog.contextvars.bind_contextvars(ip=client_address(request.META))

    def handle_response(self, request: HttpRequest, response: HttpResponse) -> None:
        if response.status_code < 400:
            return
        self.bind_ip(request)
        super().handle_response(request, response)

    def process_got_request_exception(self, sender: type[Any], request: HttpRequest, **kwargs: Any) -> None:
        self.bind_ip(request)
        super().process_got_request_exception(sender, request, **kwargs)


def log_refused(request: HttpRequest, status: int) -> None:
    """Logs a request that was refused before the middleware above could see it."""
    shown = RequestLogMiddleware.format_request(request)
    logger.warning("request_refused", code=status, request=shown, ip=client_address(request.META))


def shown_path(path: str, query: str) -> str:
    """Returns path and query string without anything that may be a key, a token or a signature.

    Masks the values of parameters with telling names, and everything that is longer than MAX_SHOWN_LENGTH.
    """
    shown = "/".join(_shown(part) for part in path.split("/"))
    if not query:
        return shown
    parameters = (parameter.partition("=") for parameter in query.split("&"))
    return f"{shown}?{'&'.join(_shown_parameter(*parameter) for parameter in parameters)}"


def _shown_parameter(name: str, equals: str, value: str) -> str:
    is_telling = any(word in name.lower() for word in _TELLING_NAMES)
    return f"{_shown(name)}{equals}{MASK if is_telling and value else _shown(value)}"


def _shown(text: str) -> str:
    return text if len(text) <= MAX_SHOWN_LENGTH else MASK
