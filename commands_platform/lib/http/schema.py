"""Makes the OpenAPI document. Views declare the names, tags, errors and headers of their operations."""

from __future__ import annotations

import re
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import Direction, OpenApiParameter
from rest_framework import serializers

from commands_platform.lib.http.correlation import CORRELATION_HEADER, CORRELATION_PATTERN
from commands_platform.lib.http.error_responses import error_responses
from commands_platform.lib.http.fields import AnyJsonField
from commands_platform.lib.http.idempotency import IDEMPOTENCY_HEADER, IDEMPOTENT_METHODS, REPLAYED_HEADER
from commands_platform.lib.http.unknown_fields import IGNORED_HEADER

_TAGS_BY_SEGMENT = {
    "auth": "Exchange tokens",
    "me": "Directory",
    "organization": "Directory",
    "users": "Directory",
    "event-subscription": "Events",
    "webhook-subscription": "Events",
    "api-keys": "API keys",
}
_CALLBACKS_TAG = "Callbacks"

_TOKEN_STATUS = OpenApiParameter(
    "X-Exchange-Token-Status", str, OpenApiParameter.HEADER, response=True,
    enum=["expired", "revoked", "invalid", "other_command", "inactive"],
    description="Why the exchange token is void. A valid token has no such header.",
)  # fmt: skip
_WWW_AUTHENTICATE = OpenApiParameter(
    "WWW-Authenticate", str, OpenApiParameter.HEADER, response=[401], description="How to authenticate."
)
_RETRY_AFTER = OpenApiParameter(
    "Retry-After", int, OpenApiParameter.HEADER, response=[429], description="Seconds to wait."
)
_IGNORED_FIELDS = OpenApiParameter(
    IGNORED_HEADER, str, OpenApiParameter.HEADER, response=[200, 201, 202],
    description="The fields of the request that were not known and had no effect.",
)  # fmt: skip


_CORRELATION_ID = OpenApiParameter(
    CORRELATION_HEADER, str, OpenApiParameter.HEADER, response=True,
    description="The id of the request in the server's log: the caller's, or else a new one.",
)  # fmt: skip
_SENT_CORRELATION_ID = OpenApiParameter(
    CORRELATION_HEADER, {"type": "string", "pattern": CORRELATION_PATTERN}, OpenApiParameter.HEADER,
    description="An id of the caller's choice for the request. Deliveries that it causes send it on.",
)  # fmt: skip

_IDEMPOTENCY_KEY = OpenApiParameter(
    IDEMPOTENCY_HEADER, {"type": "string", "minLength": 1, "maxLength": 255}, OpenApiParameter.HEADER,
    description="Makes it safe to send the request again: it runs once, and its answer is given again for 24 hours.",
)  # fmt: skip
_REPLAYED = OpenApiParameter(
    REPLAYED_HEADER, str, OpenApiParameter.HEADER, response=True, enum=["true"],
    description="The request ran earlier. This is its answer from then.",
)  # fmt: skip
_RATE_LIMITS = [
    OpenApiParameter(name, {"type": kind}, OpenApiParameter.HEADER, response=True, description=description)
    for name, kind, description in (
        ("X-RateLimit-Limit", "integer", "The requests that the caller may send in a period."),
        ("X-RateLimit-Remaining", "integer", "The requests that are left."),
        ("X-RateLimit-Reset", "integer", "When the present period ends, in Unix seconds."),
        ("RateLimit", "string", "The requests that are left, and the seconds until the period ends."),
        ("RateLimit-Policy", "string", "The limit, and the length of the period in seconds."),
    )
]
_HEADERS_OF_ALL = [_SENT_CORRELATION_ID, _CORRELATION_ID, _TOKEN_STATUS, _WWW_AUTHENTICATE, _RETRY_AFTER, *_RATE_LIMITS]
# The name of the object that a path of an example finds by its name.
EXAMPLE_NAME = "example"


def example_uuid(segment: str) -> UUID:
    """Returns the UUID that examples use for the object of a path segment."""
    return uuid5(NAMESPACE_URL, f"https://example.com/{segment}")


class PlatformSchema(AutoSchema):
    """Describes one operation. `extend_schema` can override it and add examples."""

    def get_tags(self) -> list[str]:
        segments = [segment for segment in self.path.split("/") if segment not in ("", "v1", "platform")]
        if not segments:
            return [_CALLBACKS_TAG]
        return [_TAGS_BY_SEGMENT.get(segments[0], segments[0].replace("-", " ").capitalize())]

    def get_summary(self) -> str | None:
        """Returns the first sentence of the handler's docstring."""
        return re.split(r"(?<=[.!?])\s", super().get_description(), maxsplit=1)[0].rstrip(".") or None

    def get_override_parameters(self) -> list[Any]:
        parameters = [*super().get_override_parameters(), *_HEADERS_OF_ALL]
        if self.method in IDEMPOTENT_METHODS:
            parameters += [_IDEMPOTENCY_KEY, _REPLAYED]
        return [*parameters, _IGNORED_FIELDS] if self._takes_body() else parameters

    def get_serializer_name(self, serializer: serializers.Serializer[Any], direction: Direction) -> str:
        """Returns the name of a component: `ScheduledExecution` for a ScheduledExecutionOutput."""
        return super().get_serializer_name(serializer, direction).removesuffix("Output")

    def _get_serializer_field_meta(self, field: Any, direction: Direction) -> dict[str, Any]:
        meta: dict[str, Any] = super()._get_serializer_field_meta(field, direction)  # type: ignore[no-untyped-call]
        if isinstance(field, AnyJsonField):
            # A schema that allows anything allows null too.
            meta.pop("nullable", None)
        return meta

    def _takes_body(self) -> bool:
        return self.method in ("POST", "PUT", "PATCH") and self.get_request_serializer() is not None

    def _get_request_body(self, direction: Direction = "request") -> dict[str, Any] | None:
        body: dict[str, Any] | None = super()._get_request_body(direction)  # type: ignore[no-untyped-call]
        return None if body is None else body | {"required": True}

    def _resolve_path_parameters(self, variables: list[str]) -> list[dict[str, Any]]:
        parameters: list[dict[str, Any]] = super()._resolve_path_parameters(variables)  # type: ignore[no-untyped-call]
        segments = self.path.split("/")
        for parameter in parameters:
            segment = segments[segments.index(f"{{{parameter['name']}}}") - 1]
            if parameter["name"].endswith("uuid"):
                parameter["schema"] |= {"format": "uuid"}
                parameter["example"] = str(example_uuid(segment))
            else:
                parameter["example"] = EXAMPLE_NAME
            parameter["description"] = f"Which one of {segment}."
        return parameters

    def _get_response_bodies(self, direction: Direction = "response") -> dict[str, Any]:
        responses: dict[str, Any] = super()._get_response_bodies(direction)
        if direction == "response":
            handler = getattr(self.view, self.method.lower(), None)
            is_write = self.method in IDEMPOTENT_METHODS
            errors = error_responses(
                self.view, handler, has_body=self._takes_body(), has_path="{" in self.path, is_write=is_write
            )
            for status, response in errors.items():
                if status not in responses:
                    responses[status] = self._get_response_for_code(response, status)  # type: ignore[no-untyped-call]
        return responses
