"""Makes the OpenAPI document. Views declare the names, tags, errors and headers of their operations."""

from __future__ import annotations

import re
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import Direction, OpenApiParameter
from rest_framework import serializers

from commands_platform.lib.http.error_responses import error_responses
from commands_platform.lib.http.fields import AnyJsonField
from commands_platform.lib.http.unknown_fields import IGNORED_HEADER

_TAGS_BY_SEGMENT = {
    "auth": "Exchange tokens",
    "me": "Directory",
    "organization": "Directory",
    "users": "Directory",
    "event-subscription": "Events",
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
        parameters = [*super().get_override_parameters(), _TOKEN_STATUS, _WWW_AUTHENTICATE, _RETRY_AFTER]
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
            parameter["description"] = f"Which one of {segment}."
        return parameters

    def _get_response_bodies(self, direction: Direction = "response") -> dict[str, Any]:
        responses: dict[str, Any] = super()._get_response_bodies(direction)
        if direction == "response":
            handler = getattr(self.view, self.method.lower(), None)
            errors = error_responses(self.view, handler, has_body=self._takes_body(), has_path="{" in self.path)
            for status, response in errors.items():
                if status not in responses:
                    responses[status] = self._get_response_for_code(response, status)  # type: ignore[no-untyped-call]
        return responses
