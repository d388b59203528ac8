"""Documents the errors of an endpoint in the OpenAPI document: its statuses and bodies, as the view declares them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar, cast

from drf_spectacular.utils import OpenApiExample, OpenApiResponse, PolymorphicProxySerializer
from rest_framework import exceptions, serializers

from commands_platform.lib.errors import (
    IdempotencyInProgressError,
    IdempotencyMismatchError,
    InvalidIdempotencyKeyError,
    InvalidInputError,
    NotFoundError,
    PlatformError,
)
from commands_platform.lib.http.exception_handler import ErrorAnswer, answer_to, error_body
from commands_platform.lib.http.outputs import Output
from commands_platform.lib.http.parsers import unsupported
from commands_platform.lib.json.strict_json import MalformedJsonError, PayloadTooLargeError

_Handler = TypeVar("_Handler", bound=Callable[..., Any])

_DESCRIPTIONS = {
    400: "The request is not valid.",
    401: "The API key is missing, or it is not valid.",
    403: "The API key may not do this.",
    404: "There is no such object, or it belongs to another organization.",
    406: "No exchange token can be made for this user.",
    409: "The state of the object does not allow it, or a request with the same `Idempotency-Key` is still running.",
    412: "The object has changed since the version in `If-Match`.",
    413: "The body is too large.",
    415: "The body is not JSON in UTF-8, or it is compressed.",
    422: "Another request has used the `Idempotency-Key`.",
    429: "Too many requests. `Retry-After` says when to come back.",
}

_ERRORS_OF_WRITES = (InvalidIdempotencyKeyError, IdempotencyInProgressError, IdempotencyMismatchError)


class ErrorOutput(Output[Any]):
    """An error. `detail` is for people. `code` is for programs and never changes."""

    detail = serializers.CharField()
    code = serializers.CharField()


class ValidationErrorOutput(Output[Any]):
    """An error of a request. If fields are not valid, `errors` has the messages for each."""

    detail = serializers.CharField()
    code = serializers.CharField()
    errors = serializers.DictField(  # type: ignore[assignment]  # a field of this name
        child=serializers.ListField(child=serializers.CharField()), required=False
    )


class DetailsErrorOutput(Output[Any]):
    """An error of a field, in the shape that is documented for storage and event subscription."""

    details = serializers.CharField()


class CodelessErrorOutput(Output[Any]):
    """An error that is documented without a code."""

    detail = serializers.CharField()


class _Case(NamedTuple):
    name: str
    error: Exception


def raises(*errors: type[PlatformError]) -> Callable[[_Handler], _Handler]:
    """Declares the errors of its app that a handler can answer, for the OpenAPI document."""

    def declare(handler: _Handler) -> _Handler:
        handler.raises = errors  # type: ignore[attr-defined]
        return handler

    return declare


def error_responses(
    view: Any, handler: object, *, has_body: bool, has_path: bool, is_write: bool
) -> dict[str, OpenApiResponse]:
    """Returns the responses of the 4xx statuses that a handler of the view can answer, with an example of each code."""
    bodies: dict[int, dict[str, object]] = {}
    for name, error in _cases(handler, has_body=has_body, has_path=has_path, is_write=is_write):
        answer = cast("ErrorAnswer", answer_to(error, view))
        bodies.setdefault(answer.status, {})[name] = answer.body
    bodies[429] = {"throttled": error_body("Request was throttled. Expected available in 5 seconds.", "throttled")}
    return {
        str(status): OpenApiResponse(
            response=_shape(view, status),
            description=_DESCRIPTIONS[status],
            examples=[OpenApiExample(name, body, response_only=True) for name, body in examples.items()],
        )
        for status, examples in sorted(bodies.items())
    }


def _cases(handler: object, *, has_body: bool, has_path: bool, is_write: bool) -> Iterator[_Case]:
    declared: tuple[type[PlatformError], ...] = getattr(handler, "raises", ())
    for error in (*declared, *(_ERRORS_OF_WRITES if is_write else ())):
        yield _Case(error.code, error())
    field = (
        {"name": ["This field is required."]} if has_body else {"limit": ["A valid non-negative integer is required."]}
    )
    yield _Case(InvalidInputError.code, InvalidInputError(errors=field))
    yield _Case("not_authenticated", exceptions.NotAuthenticated())
    yield _Case("authentication_failed", exceptions.AuthenticationFailed("Invalid API key"))
    yield _Case(
        "insufficient_scope",
        exceptions.PermissionDenied(
            "The API key lacks the scope SCHEDULING, which is needed here. Use a key that has it.",
            code="insufficient_scope",
        ),
    )
    yield _Case(
        "address_not_allowed",
        exceptions.PermissionDenied(
            "The API key may not be used from this address. The organization has limited it to other networks.",
            code="address_not_allowed",
        ),
    )
    if has_path:
        yield _Case("not_found", NotFoundError())
    if has_body:
        yield _Case("parse_error", MalformedJsonError("Unexpected end of data", line=1, column=2))
        yield _Case("payload_too_large", PayloadTooLargeError(1024 * 1024))
        yield _Case("unsupported_media_type", unsupported("text/plain"))


def _shape(view: Any, status: int) -> object:
    if status == 406:
        return CodelessErrorOutput
    if status != 400:
        return ErrorOutput
    if getattr(view, "error_shape", None) != "details":
        return ValidationErrorOutput
    return PolymorphicProxySerializer(
        component_name="DetailsOrError", serializers=[DetailsErrorOutput, ErrorOutput], resource_type_field_name=None
    )
