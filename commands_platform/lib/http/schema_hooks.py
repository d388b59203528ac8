"""Finishes the OpenAPI document: describes tags, defaults, and the headers of every callback."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

_TAG_DESCRIPTIONS = {
    "Exchange tokens": "Tokens with which a command acts for a user.",
    "Directory": "The organization of the API key, and its users.",
    "Scheduling": "Schedules of calls, and the result of each run.",
    "Storage": "JSON values with keys.",
    "Events": "Events in an organization, and subscriptions to them.",
    "Activity": "Records of actions.",
    "Commands": "The programs that callbacks are sent for.",
    "API keys": "The keys with which callers use this API.",
    "Audit": "Changes in an organization, and who made them.",
    "Installations": "Public commands of other organizations that may act in this one.",
    "Callbacks": "The requests that this server sends.",
}

_EXAMPLE_ID = "01a2008b-707b-72bb-af9f-d634bab213f3"


def _header(name: str, description: str, example: object, **schema: object) -> dict[str, object]:
    return {
        "in": "header",
        "name": name,
        "required": True,
        "description": description,
        "schema": {"type": "string", **schema},
        "example": example,
    }


# Their names come from Standard Webhooks and DailyBot.
_CALLBACK_HEADERS = [
    _header(
        "webhook-id",
        "The same in every attempt. Receivers use it to do each run only once.",
        _EXAMPLE_ID,
    ),
    _header("webhook-timestamp", "When this attempt was sent, in Unix seconds.", "1795305468"),
    _header(
        "webhook-signature",
        "`v1,` and the Base64 HMAC-SHA256 of `id.timestamp.body` with the command's `whsec_` secret, as in Standard "
        "Webhooks. After a rotation there are two, separated by a blank.",
        "v1,TM7IHfI5EUNGAx/0az2mV0DtUlfd2ba/9Gfb3MaGL1c=",
    ),
    _header(
        "X-DailyBot-Signature",
        "The command's static signature, for receivers written for DailyBot.",
        "a135e61aeb88692d4add1ad9b240ff9cc973d3fe4d3b4558ccdf08946ec454a8",
    ),
    _header(
        "X-Correlation-Id",
        "That of the request that caused the delivery, or else the `webhook-id`. It is in the server's log too.",
        _EXAMPLE_ID,
    ),
]


def finish(result: dict[str, Any], **_context: object) -> dict[str, Any]:
    """Describes the tags that are in use and the headers of callbacks (a postprocessing hook of drf-spectacular)."""
    for operation in _outgoing(result):
        operation["parameters"] = _CALLBACK_HEADERS
        # Receivers check the signature, which no security scheme of OpenAPI describes.
        operation["security"] = []
    for name, path_item in result.get("webhooks", {}).items():
        for operation in path_item.values():
            operation["operationId"] = f"receive_{name}"
    for schema in result["components"]["schemas"].values():
        _tell_defaults(schema)
    used = {tag for operation in _operations(result) for tag in operation.get("tags", ())}
    result["tags"] = [
        {"name": tag, "description": _TAG_DESCRIPTIONS.get(tag, tag)}
        for tag in sorted(used, key=lambda tag: (tag not in _TAG_DESCRIPTIONS, [*_TAG_DESCRIPTIONS, tag].index(tag)))
    ]
    return result


def _tell_defaults(schema: dict[str, Any]) -> None:
    """Moves defaults of optional fields into descriptions. For openapi-typescript, a default makes a field required."""
    for name, field in schema.get("properties", {}).items():
        if "default" in field and name not in schema.get("required", ()):
            words = f"Default: `{json.dumps(field.pop('default'))}`."
            field["description"] = f"{field['description']} {words}" if "description" in field else words


def _operations(result: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for path_item in (*result["paths"].values(), *result.get("webhooks", {}).values()):
        yield from path_item.values()


def _outgoing(result: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for path_item in result.get("webhooks", {}).values():
        yield from path_item.values()
    for operation in _operations(result):
        for callback in operation.get("callbacks", {}).values():
            for path_item in callback.values():
                yield from path_item.values()
