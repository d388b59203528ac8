"""Somebody moves, and their schedules move with them: the next run is computed anew when a zone is changed."""

from __future__ import annotations

from typing import Any

from django.db.models import Q
from django.db.models.signals import post_init, post_save

from organizations.models import Organization, User
from scheduling import services
from scheduling.models import TimezoneType

_LOADED = "_zone_as_loaded"


def connect() -> None:
    """Watches organizations and users, however they are saved."""
    for model in (Organization, User):
        post_init.connect(_remember, sender=model, dispatch_uid=f"scheduling.zone.remember.{model.__name__}")
        post_save.connect(_follow, sender=model, dispatch_uid=f"scheduling.zone.follow.{model.__name__}")


def _remember(instance: Organization | User, **_: Any) -> None:
    # A deferred field is not loaded for this; then any save counts as a change.
    setattr(instance, _LOADED, instance.__dict__.get("timezone"))


def _follow(instance: Organization | User, created: bool, **_: Any) -> None:
    if created or getattr(instance, _LOADED, None) == instance.timezone:
        return
    setattr(instance, _LOADED, instance.timezone)
    if isinstance(instance, User):
        moved = Q(timezone_type=TimezoneType.USER, owner=instance)
    else:
        moved = Q(timezone_type=TimezoneType.ORGANIZATION, organization=instance) | Q(
            timezone_type=TimezoneType.USER, owner__organization=instance, owner__timezone=""
        )
    services.recompute_next_runs(schedules=moved)
