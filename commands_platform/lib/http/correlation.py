"""Gives each request a correlation id: the caller's own `X-Correlation-Id`, or else a new one.

The id is in every answer and every log line of the request. Deliveries that the request causes keep it and send it on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from structlog.contextvars import bind_contextvars, clear_contextvars

if TYPE_CHECKING:
    from django.http import HttpRequest
    from django.http.response import HttpResponseBase

CORRELATION_HEADER = "X-Correlation-Id"
CORRELATION_PATTERN = "^[A-Za-z0-9._-]{1,128}$"

_SHAPE = re.compile(CORRELATION_PATTERN.strip("^$"))


class CorrelationMiddleware:
    """Gives the log lines of a request its ids, and the answer the correlation id. It must be the first middleware."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        request_id = str(uuid4())
        correlation_id = correlation_id_of(request.META) or request_id
        # A caller may use one correlation id for several requests, so each of them has an id of its own too.
        bind_contextvars(request_id=request_id, correlation_id=correlation_id)
        try:
            response = self.get_response(request)
        finally:
            clear_contextvars()
        response.headers[CORRELATION_HEADER] = correlation_id
        return response


def correlation_id_of(environ: Mapping[str, Any]) -> str | None:
    """Returns the caller's correlation id from a WSGI environ, or None if there is none that can be used."""
    sent = environ.get("HTTP_X_CORRELATION_ID")
    return sent if sent and _SHAPE.fullmatch(sent) else None
