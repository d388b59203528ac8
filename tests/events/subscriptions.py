"""Shared by the tests of `/v1/platform/event-subscription/`."""

from __future__ import annotations

from events.models import Hook
from tests.api import Caller

PATH = "/v1/platform/event-subscription/"
BODY = {"subscriptions": ["forms.response.created", "kudos.*"], "subscribed_objects": ["form-1"]}
MISSING_TOKEN = {"detail": "You should specify a valid exchange token", "code": "missing_token"}


def hook_of(caller: Caller) -> Hook | None:
    return Hook.objects.filter(command=caller.command, user=caller.user).first()
