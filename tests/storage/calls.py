"""Requests to the storage endpoint."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.utils import timezone

from storage.models import Item
from tests.api import ApiClient, ApiResponse

PATH = "/v1/platform/storage/"


def call(
    client: ApiClient, op: str, params: Mapping[str, Any] | None = None, *, namespace: str | None = None, **options: Any
) -> ApiResponse:
    """Sends one operation. `options` are those of the client, such as `token=None`."""
    body: dict[str, Any] = {"op": op, "params": dict(params or {})}
    if namespace is not None:
        body["namespace"] = namespace
    return client.post(PATH, body, **options)


def put(client: ApiClient, key: str, value: object, /, **options: Any) -> None:
    """Stores a value, and fails if that does not work."""
    response = call(client, "set", {"key": key, "value": value}, **options)
    assert response.status_code == 200, response.content


def read(client: ApiClient, key: str, /, **options: Any) -> Any:
    """Returns the value that the API answers with, or None if there is no item."""
    response = call(client, "get", {"key": key}, **options)
    assert response.status_code == 200, response.content
    return None if response.headers.get("X-Storage-Found") == "false" else response.json()


def expire(*keys: str) -> None:
    """Makes all items with these keys expire a second ago."""
    changed = Item.objects.filter(key__in=keys).update(expires_at=timezone.now() - timedelta(seconds=1))
    assert changed
