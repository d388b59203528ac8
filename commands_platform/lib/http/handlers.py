"""Answers to what no view handles: unknown paths, refused requests, bugs. JSON for the API, Django's pages else."""

from __future__ import annotations

import structlog
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.views import defaults

from commands_platform.lib.http.exception_handler import error_body
from commands_platform.lib.json import strict_json

API_PREFIX = "/v1/"


def is_api_path(path: str) -> bool:
    """Whether a path belongs to the API, so that all its answers are JSON."""
    return path.startswith(API_PREFIX) or path == API_PREFIX.rstrip("/")


def json_error(status: int, detail: str, code: str, **more: object) -> HttpResponse:
    """An error in the contract's shape, for code that runs outside REST framework's views."""
    body = strict_json.dumps(error_body(detail, code, **more))
    # The middleware that gives responses their length stands further inside than some callers.
    headers = {"Content-Type": "application/json", "Content-Length": str(len(body))}
    return HttpResponse(body, status=status, headers=headers)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """400 for a request that Django refused, or 413 where its size was the reason."""
    if not is_api_path(request.path_info):
        return defaults.bad_request(request, exception)
    if isinstance(exception, RequestDataTooBig):
        return json_error(413, "The request body is too large.", "payload_too_large")
    return json_error(400, "The request is not valid.", "bad_request")


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """403."""
    if not is_api_path(request.path_info):
        return defaults.permission_denied(request, exception)
    return json_error(403, "You do not have permission to perform this action.", "permission_denied")


def not_found(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """404, with the same body for an unknown path as for an unknown object."""
    if not is_api_path(request.path_info):
        return defaults.page_not_found(request, exception)
    return json_error(404, "Not found.", "not_found")


def server_error(request: HttpRequest) -> HttpResponseBase:
    """500; the request id, which every log line of the request carries, is all that it tells."""
    if not is_api_path(request.path_info):
        return defaults.server_error(request)
    return internal_error(request)


def internal_error(request: HttpRequest) -> HttpResponse:
    """The API's 500."""
    request_id = structlog.contextvars.get_contextvars().get("request_id") or request.headers.get("X-Request-ID")
    return json_error(500, "Internal server error.", "internal_error", request_id=request_id)
