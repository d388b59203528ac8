"""Refuses requests that no other code should get: unreadable text, and bodies that are too large or too slow."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes
from uuid import uuid4

import structlog
from django.conf import settings
from django.core.exceptions import SuspiciousOperation
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from commands_platform.lib.http.correlation import CORRELATION_HEADER, correlation_id_of
from commands_platform.lib.http.exception_handler import error_body
from commands_platform.lib.http.gateway.refusals import REFUSAL, Refusal
from commands_platform.lib.http.handlers import INVALID_REQUEST, internal_error, is_api_path, json_error
from commands_platform.lib.http.request_log import log_refused
from commands_platform.lib.json import strict_json
from commands_platform.lib.json.strict_json import PayloadTooLargeError

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

logger = structlog.get_logger(__name__)

# Django parses the header before any middleware runs, in time that grows faster than its length.
MAX_CONTENT_TYPE_LENGTH = 1000

_ERRORS_BY_STATUS = {
    400: (INVALID_REQUEST, "bad_request"),
    403: ("You do not have permission to perform this action.", "permission_denied"),
    404: ("Not found.", "not_found"),
    405: ("Method not allowed.", "method_not_allowed"),
    413: ("The request body is too large.", "payload_too_large"),
}


class RequestHygieneMiddleware:
    """Refuses NUL and bytes that are not UTF-8 in path, query and headers, and API bodies over MAX_BODY_BYTES.

    It also answers requests that the gateway refused, and turns HTML errors under the API's path into errors of the
    API.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        refusal = _refused_text(request) or _refused_body(request)
        if refusal is not None:
            # The request log comes after this middleware, so it does not see the request.
            log_refused(request, refusal.status_code)
            return refusal
        _forget_misleading_headers(request)
        response = self.get_response(request)
        if response.status_code >= 400 and is_api_path(request.path_info):
            return _in_the_documented_shape(response)
        return response


def refuse_unreadable_requests(application: WSGIApplication) -> WSGIApplication:
    """Answers 400 if Django fails while it makes the request object, before any middleware runs.

    A Content-Type can cause that, with an unknown charset (RFC 2231), with a codec that is not for text, or with any
    charset together with too many query parameters.
    """

    def guarded(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        name = "ContentTypeTooLong"
        if len(environ.get("CONTENT_TYPE") or "") <= MAX_CONTENT_TYPE_LENGTH:
            try:
                return application(environ, start_response)
            except (ValueError, LookupError, SuspiciousOperation) as error:
                name = type(error).__name__
        correlation_id = correlation_id_of(environ) or str(uuid4())
        logger.warning("request_was_unreadable", error=name, correlation_id=correlation_id)
        body = strict_json.dumps(error_body(INVALID_REQUEST, "bad_request"))
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        start_response("400 Bad Request", [*headers.items(), (CORRELATION_HEADER, correlation_id)])
        return [body]

    return guarded


def _refused_text(request: HttpRequest) -> HttpResponse | None:
    if not _is_clean_path(request.path_info):
        return json_error(400, "The path is not valid: it must be UTF-8 without NUL.", "bad_request")
    if not _is_clean_query(request.META.get("QUERY_STRING", "")):
        return json_error(400, "The query string is not valid: it must be UTF-8 without NUL.", "bad_request")
    for name, value in request.META.items():
        if name.startswith(("HTTP_", "CONTENT_TYPE")) and not _is_clean_header(value):
            return json_error(400, "A header is not valid: it must be UTF-8 without NUL.", "bad_request")
    return None


def _is_clean_path(path: str) -> bool:
    # Django has already decoded the path, except for bytes that are not UTF-8, which are still %XX.
    return "\0" not in path and ("%" not in path or _is_utf8(unquote_to_bytes(path)))


def _is_clean_query(query: str) -> bool:
    if "%" not in query and query.isascii():
        return "\0" not in query
    raw = unquote_to_bytes(_wire_bytes(query))
    return b"\0" not in raw and _is_utf8(raw)


def _is_clean_header(value: object) -> bool:
    if not isinstance(value, str):
        return True
    return "\0" not in value and (value.isascii() or _is_utf8(_wire_bytes(value)))


def _wire_bytes(text: str) -> bytes:
    """Returns the bytes of a WSGI string: one for each character (PEP 3333), unless a test client breaks that rule."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode(errors="surrogatepass")


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def _refused_body(request: HttpRequest) -> HttpResponse | None:
    refusal: Refusal | None = request.META.get(REFUSAL)
    if refusal is not None:
        response = json_error(refusal.status, refusal.detail, refusal.code)
        for name, value in refusal.headers.items():
            response[name] = value
        return response
    announced = request.META.get("CONTENT_LENGTH")
    if not announced:
        return None
    if not (announced.isascii() and announced.isdigit() and len(announced) < 20):
        return json_error(400, "The Content-Length header is not valid: it must be a number of bytes.", "bad_request")
    return _too_large() if int(announced) > settings.MAX_BODY_BYTES and is_api_path(request.path_info) else None


def _too_large() -> HttpResponse:
    return json_error(413, str(PayloadTooLargeError(settings.MAX_BODY_BYTES)), "payload_too_large")


def _forget_misleading_headers(request: HttpRequest) -> None:
    # Headers whose names have an underscore arrive as these, and REST framework mistakes them for the real ones.
    request.META.pop("HTTP_CONTENT_TYPE", None)
    request.META.pop("HTTP_CONTENT_LENGTH", None)
    if request.encoding is not None:
        # It comes from the Content-Type. Django would decode the query string with it, and fail on "hex" or "idna".
        request.encoding = settings.DEFAULT_CHARSET
    if is_api_path(request.path_info) and request.META.get("CONTENT_LENGTH") in (None, "", "0"):
        # REST framework would read an empty body with the type of a form as a form, which has other rules than JSON.
        request.META.pop("CONTENT_TYPE", None)


def _in_the_documented_shape(response: HttpResponseBase) -> HttpResponseBase:
    """Returns the same response if it is JSON, or else one with its status and headers and a JSON body."""
    if not isinstance(response, HttpResponse) or response.get("Content-Type", "").startswith("application/json"):
        return response
    if response.status_code >= 500:
        error = internal_error()
    else:
        detail, code = _ERRORS_BY_STATUS.get(response.status_code, _ERRORS_BY_STATUS[400])
        error = json_error(response.status_code, detail, code)
    response.content = error.content
    response["Content-Type"] = "application/json"
    if response.has_header("Content-Length"):
        response["Content-Length"] = str(len(error.content))
    return response
