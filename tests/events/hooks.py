"""Shared by the tests of publishing: paths, bodies, hooks and events."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from events.models import Hook
from events.publishing import NewEvent
from organizations.models import Organization
from tests.api import Caller

PATH = "/v1/platform/events/"
URL = "http://127.0.0.1:9/callback"
BODY = {"event": "forms.response.created", "body": {"form": "form-1", "n": 1.5}, "object": "form-1"}
AT = datetime(2024, 2, 5, 18, 27, 51, 495433, tzinfo=UTC)


def make_hook(caller: Caller, *subscriptions: str, **values: Any) -> Hook:
    return Hook.objects.create(
        **{
            "organization": caller.organization,
            "command": caller.command,
            "user": caller.user,
            "subscriptions": list(subscriptions or ["*"]),
            **values,
        }
    )


def event_in(organization: Organization, name: str = "kudos.posted", **values: Any) -> NewEvent:
    return NewEvent(
        **{
            "organization_id": organization.pk,
            "name": name,
            "body": {},
            "object_id": None,
            "happened_at": AT,
            **values,
        }
    )
