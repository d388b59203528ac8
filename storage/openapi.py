"""Examples for each operation of storage in the OpenAPI document. They work as they are."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample

_REQUESTS: dict[str, dict[str, Any]] = {
    "get": {"op": "get", "params": {"key": "color"}},
    "set": {"op": "set", "params": {"key": "color", "value": {"r": 255}, "ttl": 3600}},
    "set an item that does not exist yet": {
        "op": "set",
        "params": {"key": "lock", "value": "mine", "if_version": 0},
        "namespace": "locks",
    },
    "delete": {"op": "delete", "params": {"key": "color"}},
    "exists": {"op": "exists", "params": {"key": "color"}},
    "list": {"op": "list", "params": {"prefix": "user:", "limit": 50}, "namespace": "cache"},
    "increment": {"op": "increment", "params": {"key": "visits", "amount": 1}},
    "get_many": {"op": "get_many", "params": {"keys": ["a", "b"]}},
    "set_many": {"op": "set_many", "params": {"items": {"a": 1, "b": [True]}}},
    "delete_many": {"op": "delete_many", "params": {"keys": ["a", "b"]}},
}
EXAMPLES = [OpenApiExample(name, value, request_only=True) for name, value in _REQUESTS.items()]
