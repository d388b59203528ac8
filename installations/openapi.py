"""Examples of the OpenAPI document for installations, which work as they stand."""

from __future__ import annotations

from drf_spectacular.utils import OpenApiExample

from commands_platform.lib.http.schema import example_uuid

INSTALL_EXAMPLES = [
    OpenApiExample(
        "A command that may schedule and hear of forms",
        {
            "command_uuid": str(example_uuid("commands")),
            "scopes": ["SCHEDULING", "EVENT_SUBSCRIPTION"],
            "events": ["forms.*"],
        },
        request_only=True,
    ),
    OpenApiExample(
        "A command that may do and hear of everything",
        {"command_uuid": str(example_uuid("commands"))},
        request_only=True,
    ),
]
CHANGE_EXAMPLES = [
    OpenApiExample("Fewer events", {"events": ["forms.response.created"]}, request_only=True),
]
