"""Examples for activity in the OpenAPI document. They work as they are."""

from __future__ import annotations

from drf_spectacular.utils import OpenApiExample

RECORD_EXAMPLES = [
    OpenApiExample(
        "A report was sent",
        {"category": "reports", "action": "sent", "label": "weekly", "metadata": {"pages": 3}},
        request_only=True,
    )
]
