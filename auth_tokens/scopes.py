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


ALL_SCOPES: list[str] = [scope.value for scope in Scope]
