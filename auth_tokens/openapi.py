"""How the OpenAPI schema describes the two headers."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema


class ApiKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "auth_tokens.authentication.ApiKeyAuthentication"
    name = ["ApiKey", "ExchangeToken"]

    def get_security_requirement(self, auto_schema: AutoSchema) -> list[dict[str, list[Any]]]:
        return [{"ApiKey": []}, {"ApiKey": [], "ExchangeToken": []}]

    def get_security_definition(self, auto_schema: AutoSchema) -> list[dict[str, str]]:
        return [
            {"type": "apiKey", "in": "header", "name": "X-API-KEY"},
            {"type": "apiKey", "in": "header", "name": "X-EXCHANGE-TOKEN"},
        ]
