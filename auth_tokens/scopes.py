"""The scopes of API keys."""

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


# The scopes that a command needs. MANAGE is for the people who run the organization.
COMMAND_SCOPES: list[str] = [scope.value for scope in Scope if scope is not Scope.MANAGE]

# The scopes that an organization can allow to a public command.
INSTALLABLE_SCOPES: list[str] = [
    Scope.SCHEDULING.value,
    Scope.STORAGE.value,
    Scope.EVENT_SUBSCRIPTION.value,
    Scope.ACTIVITY.value,
]
