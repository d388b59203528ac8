"""Clients with keys that manage an organization."""

from __future__ import annotations

from typing import Any

from auth_tokens.scopes import Scope
from tests.api import ApiClient, ApiResponse


def manager_of(client: ApiClient) -> ApiClient:
    return ApiClient(client.caller.with_scopes(*Scope.values))


def refused(response: ApiResponse) -> tuple[int, str]:
    """Returns the status and the code of an error."""
    return response.status_code, response.json()["code"]


def errors_of(response: ApiResponse) -> dict[str, Any]:
    assert response.status_code == 400, response.content
    errors: dict[str, Any] = response.json()["errors"]
    return errors
