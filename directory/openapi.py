"""Examples of managing an organization in the OpenAPI document. They work as they are."""

from __future__ import annotations

from drf_spectacular.utils import OpenApiExample

USER_EXAMPLES = [
    OpenApiExample(
        "A manager in Tokyo",
        {"full_name": "Grace Hopper", "email": "grace@example.com", "role": "manager", "timezone": "Asia/Tokyo"},
        request_only=True,
    ),
]
USER_CHANGE_EXAMPLES = [
    OpenApiExample("The user has moved", {"timezone": "Europe/Berlin"}, request_only=True),
    OpenApiExample("The user has left", {"is_active": False}, request_only=True),
]
COMMAND_EXAMPLES = [
    OpenApiExample(
        "A command with a receiver",
        {"name": "standup", "callback_url": "https://example.com/callbacks"},
        request_only=True,
    ),
]
COMMAND_CHANGE_EXAMPLES = [
    OpenApiExample("The receiver has moved", {"callback_url": "https://example.com/v2/callbacks"}, request_only=True),
]
ROTATION_EXAMPLES = [
    OpenApiExample("The old one stays valid for an hour", {"overlap_seconds": 3600}, request_only=True),
]
KEY_EXAMPLES = [
    OpenApiExample(
        "A key that manages the organization from one network",
        {"name": "deploy", "scopes": ["MANAGE"], "allowed_networks": ["203.0.113.0/24"]},
        request_only=True,
    ),
]
KEY_CHANGE_EXAMPLES = [
    OpenApiExample("Another network", {"allowed_networks": ["198.51.100.0/24"]}, request_only=True),
]
REVOCATION_EXAMPLES = [
    OpenApiExample("A key that has leaked", {"pause_schedules": True}, request_only=True),
]
