"""Examples for installations in the OpenAPI document. They work as they are."""

from __future__ import annotations

from drf_spectacular.utils import OpenApiExample

from commands_platform.lib.http.schema import example_uuid

INSTALL_EXAMPLES = [
    OpenApiExample(
        "A command that may schedule calls and subscribe to events of forms",
        {
            "command_uuid": str(example_uuid("public-commands")),
            "scopes": ["SCHEDULING", "EVENT_SUBSCRIPTION"],
            "events": ["forms.*"],
        },
        request_only=True,
    ),
    OpenApiExample(
        "A command with all scopes and events",
        {"command_uuid": str(example_uuid("public-commands"))},
        request_only=True,
    ),
]
CHANGE_EXAMPLES = [
    OpenApiExample("Fewer events", {"events": ["forms.response.created"]}, request_only=True),
]
