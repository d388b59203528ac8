"""Answers requests that no view handles: unknown paths, refused requests and bugs.

The API answers in JSON. Other paths do too if the client does not ask for HTML. Browsers get Django's pages.
"""

from __future__ import annotations

import sys

import structlog
from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.template import loader
from django.views import defaults

from commands_platform.lib.database.availability import is_locked
from commands_platform.lib.errors import BusyError
from commands_platform.lib.http.exception_handler import RETRY_BUSY_AFTER_SECONDS, error_body
from commands_platform.lib.json import strict_json
from commands_platform.lib.json.strict_json import PayloadTooLargeError

API_PREFIX = "/v1/"
INVALID_REQUEST = "The request is not valid. Check its host name, headers and number of parameters."


def is_api_path(path: str) -> bool:
    """Returns whether a path belongs to the API, so that all its answers are JSON."""
    return path.startswith(API_PREFIX) or path == API_PREFIX.rstrip("/")


def wants_page(request: HttpRequest) -> bool:
    """Returns whether an error is answered with a page: outside the API, to a client that asks for HTML."""
    return not is_api_path(request.path_info) and "text/html" in request.META.get("HTTP_ACCEPT", "").lower()


def json_error(status: int, detail: str, code: str, **more: object) -> HttpResponse:
    """Returns an error in the documented shape, for code that runs outside REST framework's views."""
    body = strict_json.dumps(error_body(detail, code, **more))
    # Some callers are outside the middleware that sets the length of responses.
    headers = {"Content-Type": "application/json", "Content-Length": str(len(body))}
    return HttpResponse(body, status=status, headers=headers)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """Answers 400 to a request that Django refused, or 413 if its size was the reason."""
    if wants_page(request):
        return defaults.bad_request(request, exception)
    if isinstance(exception, RequestDataTooBig):
        return json_error(413, str(PayloadTooLargeError(settings.MAX_BODY_BYTES)), "payload_too_large")
    return json_error(400, INVALID_REQUEST, "bad_request")


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """Answers 403."""
    if wants_page(request):
        return defaults.permission_denied(request, exception)
    return json_error(403, "You do not have permission to perform this action.", "permission_denied")


def not_found(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """Answers 404, with the same body for an unknown path as for an unknown object."""
    if wants_page(request):
        return defaults.page_not_found(request, exception)
    return json_error(404, "Not found.", "not_found")


def server_error(request: HttpRequest) -> HttpResponseBase:
    """Answers 500 with nothing but the request id, which every log line of the request has.

    If a row was locked for too long, the answer is 503, because trying again helps.
    """
    if is_locked(sys.exc_info()[1]):
        return _busy(request)
    if wants_page(request):
        return defaults.server_error(request)
    return internal_error()


def _busy(request: HttpRequest) -> HttpResponseBase:
    error = BusyError()
    response = json_error(503, error.message, error.code)
    if wants_page(request):
        response = HttpResponse(loader.get_template("503.html").render(), status=503)
    response["Retry-After"] = str(RETRY_BUSY_AFTER_SECONDS)
    return response


def internal_error() -> HttpResponse:
    """Returns the API's 500."""
    request_id = structlog.contextvars.get_contextvars().get("request_id")
    return json_error(500, "Internal server error.", "internal_error", request_id=request_id)
