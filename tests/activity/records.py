"""Shared by the tests of activity: paths, bodies, and a factory for records."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import orjson
from django.http import HttpResponse

from activity.models import ActivityRecord
from tests.api import Caller

PATH = "/v1/platform/activity/"
BOTH_PATHS = [PATH, PATH.removesuffix("/")]
KEYS = ["command", "organization", "user", "category", "action", "label", "metadata", "created_at"]
BODY = {"category": "kudos", "action": "posted", "label": "To Grace", "metadata": {"points": 3, "tags": ["a"]}}
MISSING_TOKEN = {"detail": "You should specify a valid exchange token", "code": "missing_token"}
AT = datetime(2026, 2, 25, 12, tzinfo=UTC)


def make_record(caller: Caller, **values: Any) -> ActivityRecord:
    return ActivityRecord.objects.create(
        **{
            "organization": caller.organization,
            "command": caller.command,
            "user": caller.user,
            "category": "kudos",
            "action": "posted",
            **values,
        }
    )


def actions(response: HttpResponse) -> list[str]:
    return [record["action"] for record in orjson.loads(response.content)]


def links(response: HttpResponse) -> dict[str, str]:
    """Returns the URLs of the `Link` header by relation, `next` and `prev`."""
    header = response.get("Link", "")
    return {rel: url for url, rel in re.findall(r'<([^>]*)>; rel="([a-z]+)"', header)}
