"""The log of requests: the failed ones, each with its id, its caller's address and what was asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import structlog
from django_structlog.middlewares import RequestMiddleware

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse


class RequestLogMiddleware(RequestMiddleware):
    """Gives every line of a request the request's id; who called is found out only for the lines on a failure.

    Nothing is logged of a request that succeeds, and to collect what such a line would say costs more than all the
    other middleware together.
    """

    def prepare(self, request: HttpRequest) -> None:
        structlog.contextvars.bind_contextvars(request_id=str(uuid4()))

    def handle_response(self, request: HttpRequest, response: HttpResponse) -> None:
        if response.status_code < 400:
            structlog.contextvars.clear_contextvars()
            return
        self.bind_ip(request)
        super().handle_response(request, response)

    def process_got_request_exception(self, sender: type[Any], request: HttpRequest, **kwargs: Any) -> None:
        self.bind_ip(request)
        super().process_got_request_exception(sender, request, **kwargs)
