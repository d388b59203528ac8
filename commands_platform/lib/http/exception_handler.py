"""Turns errors into answers. The domain raises errors, and only this module knows how they look in a response.

A view can declare two things. `error_shape = "details"` gives validation errors the shape that is documented for
storage and event subscription. `error_statuses = {SomeError: 406}` sets the statuses of errors of its own app.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, DataError, InterfaceError
from django.http import Http404
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.settings import api_settings
from rest_framework.views import set_rollback

from commands_platform.lib.database.availability import is_away, is_locked, log_away
from commands_platform.lib.errors import (
    BusyError,
    IdempotencyInProgressError,
    IdempotencyMismatchError,
    InvalidInputError,
    NotFoundError,
    PermissionDeniedError,
    PlatformError,
    PreconditionFailedError,
)
from commands_platform.lib.json.strict_json import MalformedJsonError, PayloadTooLargeError

logger = structlog.get_logger(__name__)

# One message for each element of a long list would make the answer far larger than the request.
MAX_REPORTED_FIELDS = 50

AUTHENTICATE_HEADER = 'Api-Key realm="Commands Platform"'
RETRY_AFTER_SECONDS = 5
RETRY_BUSY_AFTER_SECONDS = 1

_STATUSES: dict[type[PlatformError], int] = {
    PermissionDeniedError: 403,
    PreconditionFailedError: 412,
    IdempotencyInProgressError: 409,
    IdempotencyMismatchError: 422,
    BusyError: 503,
}
# The caller can send the same request again in a moment.
_PASSING = (BusyError, IdempotencyInProgressError)


@dataclass(frozen=True)
class ErrorAnswer:
    """The status, body and headers of an error."""

    status: int
    body: dict[str, object]
    headers: dict[str, str] = field(default_factory=dict)


def exception_handler(exc: Exception, context: Mapping[str, Any]) -> Response | None:
    """Returns the response for an error that a view raised. For None, Django logs the error and answers 500."""
    answer = answer_to(exc, context.get("view"))
    if answer is None:
        return None
    set_rollback()
    return Response(answer.body, status=answer.status, headers=answer.headers)


def answer_to(exc: Exception, view: object) -> ErrorAnswer | None:
    """Returns a view's answer to an error, or None if the error is a bug."""
    match exc:
        case PlatformError():
            return _domain_answer(exc, view)
        case exceptions.APIException():
            return _framework_answer(exc, view)
    return _other_answer(exc, view)


def error_body(detail: str, code: str, **more: object) -> dict[str, object]:
    """Returns the body of an error that is not about one of the input's fields."""
    return {"detail": detail, "code": code, **more}


def _domain_answer(exc: PlatformError, view: object) -> ErrorAnswer:
    statuses: Mapping[type[PlatformError], int] = getattr(view, "error_statuses", {})
    own_status = next((statuses[ancestor] for ancestor in type(exc).__mro__ if ancestor in statuses), None)
    if own_status == 406:
        # The errors documented with 406 are documented without a code.
        return ErrorAnswer(406, {"detail": exc.message})
    if own_status is not None:
        return ErrorAnswer(own_status, error_body(exc.message, exc.code))
    match exc:
        case InvalidInputError():
            errors = exc.errors or {api_settings.NON_FIELD_ERRORS_KEY: [exc.message]}
            return _invalid_input(view, exc.message, exc.code, errors)
        case NotFoundError():
            return _not_found()
    status = next((status for kind, status in _STATUSES.items() if isinstance(exc, kind)), 400)
    headers = {"Retry-After": str(RETRY_BUSY_AFTER_SECONDS)} if isinstance(exc, _PASSING) else {}
    return ErrorAnswer(status, error_body(exc.message, exc.code), headers)


def _framework_answer(exc: exceptions.APIException, view: object) -> ErrorAnswer:
    match exc:
        case exceptions.ValidationError():
            errors = _flattened(exc.detail)
            return _invalid_input(view, _first_message(errors), InvalidInputError.code, errors)
        case exceptions.NotFound():
            return _not_found()
        case exceptions.NotAuthenticated() | exceptions.AuthenticationFailed():
            # REST framework would answer 403 if no authenticator names a scheme.
            header = getattr(exc, "auth_header", None) or AUTHENTICATE_HEADER
            return ErrorAnswer(401, _body_of(exc), {"WWW-Authenticate": header})
        case exceptions.MethodNotAllowed():
            allowed = ", ".join(getattr(view, "allowed_methods", []))
            return ErrorAnswer(405, error_body(f"{exc.detail} Allowed here: {allowed}.", exc.default_code))
        case exceptions.Throttled():
            wait = getattr(exc, "wait", None)
            return ErrorAnswer(
                429, _body_of(exc), {"Retry-After": str(RETRY_AFTER_SECONDS if wait is None else int(wait))}
            )
    return ErrorAnswer(exc.status_code, _body_of(exc))


def _other_answer(exc: Exception, view: object) -> ErrorAnswer | None:
    match exc:
        case Http404():
            return _not_found()
        case PermissionDenied():
            return ErrorAnswer(403, _body_of(exceptions.PermissionDenied()))
        case PayloadTooLargeError():
            return ErrorAnswer(413, error_body(str(exc), "payload_too_large"))
        case MalformedJsonError():
            return ErrorAnswer(400, error_body(f"JSON parse error - {exc}", exceptions.ParseError.default_code))
        case DatabaseError() | InterfaceError():
            return _database_answer(exc, view)
    return None


def _database_answer(exc: DatabaseError | InterfaceError, view: object) -> ErrorAnswer | None:
    if is_locked(exc):
        return _domain_answer(BusyError(), view)
    if is_away(exc):
        log_away(exc)
        message = f"The database cannot be reached. Try again in {RETRY_AFTER_SECONDS} seconds."
        body = error_body(message, "service_unavailable")
        return ErrorAnswer(503, body, {"Retry-After": str(RETRY_AFTER_SECONDS)})
    if isinstance(exc, DataError):
        # The database's message would quote the value, which must not get into the log.
        name = type(exc.__cause__ or exc).__name__
        logger.error("database_refused_a_value", error=name, view=type(view).__name__)
        return ErrorAnswer(400, error_body("A value cannot be stored. Check numbers and dates.", "bad_request"))
    return None


def _not_found() -> ErrorAnswer:
    """Returns the same answer for everything, so that another organization's object looks like a missing one."""
    return ErrorAnswer(404, error_body("Not found.", "not_found"))


def _invalid_input(view: object, message: str, code: str, errors: Mapping[str, list[str]]) -> ErrorAnswer:
    if getattr(view, "error_shape", None) != "details":
        return ErrorAnswer(400, error_body(message, code, errors=dict(errors)))
    named, messages = next(iter(errors.items()), ("", []))
    if named and named != api_settings.NON_FIELD_ERRORS_KEY and messages and messages[0] == message:
        message = f"{named}: {message}"
    return ErrorAnswer(400, {"details": message})


def _body_of(exc: exceptions.APIException) -> dict[str, object]:
    if isinstance(exc.detail, exceptions.ErrorDetail):
        return error_body(str(exc.detail), exc.detail.code or exc.default_code)
    return error_body(_first_message(_flattened(exc.detail)), exc.default_code)


def _flattened(detail: object) -> dict[str, list[str]]:
    """Returns the first MAX_REPORTED_FIELDS of REST framework's nested details, as `{"params.keys.0": [messages]}`."""
    errors: dict[str, list[str]] = {}
    for path, message in _messages(detail, ()):
        name = ".".join(path) or api_settings.NON_FIELD_ERRORS_KEY
        if name not in errors and len(errors) == MAX_REPORTED_FIELDS:
            break
        errors.setdefault(name, []).append(message)
    return errors


def _messages(detail: object, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(detail, Mapping):
        for key, value in detail.items():
            yield from _messages(value, path if key == api_settings.NON_FIELD_ERRORS_KEY else (*path, str(key)))
    elif isinstance(detail, list | tuple):
        for index, value in enumerate(detail):
            yield from _messages(value, (*path, str(index)) if isinstance(value, Mapping | list | tuple) else path)
    else:
        yield path, str(detail)


def _first_message(errors: Mapping[str, list[str]]) -> str:
    return next((messages[0] for messages in errors.values() if messages), InvalidInputError().message)
