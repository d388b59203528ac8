"""What an API key may do."""

from __future__ import annotations

from django.db import models


class Scope(models.TextChoices):
    AUTH_FETCH_EXCHANGE_TOKEN = "AUTH_FETCH_EXCHANGE_TOKEN"  # noqa: S105
    SCHEDULING = "SCHEDULING"
    STORAGE = "STORAGE"
    EVENT_SUBSCRIPTION = "EVENT_SUBSCRIPTION"
    EVENTS_PUBLISH = "EVENTS_PUBLISH"
    ACTIVITY = "ACTIVITY"
    DIRECTORY = "DIRECTORY"
    MANAGE = "MANAGE"


# What a command and its receiver work with. MANAGE is not among them: it is for whoever runs the organization.
COMMAND_SCOPES: list[str] = [scope.value for scope in Scope if scope is not Scope.MANAGE]
