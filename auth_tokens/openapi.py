"""Describes keys and tokens in the OpenAPI document, with examples."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiExample

from commands_platform.lib.http.schema import example_uuid


class ApiKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "auth_tokens.authentication.ApiKeyAuthentication"
    name = ["ApiKey", "ExchangeToken"]

    def get_security_requirement(self, auto_schema: AutoSchema) -> list[dict[str, list[Any]]]:
        return [{"ApiKey": []}, {"ApiKey": [], "ExchangeToken": []}]

    def get_security_definition(self, auto_schema: AutoSchema) -> list[dict[str, str]]:
        return [
            {
                "type": "apiKey",
                "in": "header",
                "name": "X-API-KEY",
                "description": "The API key of an organization. It may be bound to one command.",
            },
            {
                "type": "apiKey",
                "in": "header",
                "name": "X-EXCHANGE-TOKEN",
                "description": "Says that a command acts for a user; see `fetch_exchange_token`.",
            },
        ]


TOKEN_EXAMPLES = [
    OpenApiExample(
        "A token for a user",
        {"user_uuid": str(example_uuid("users")), "include_user_context": True, "include_expiry": True},
        request_only=True,
    )
]
