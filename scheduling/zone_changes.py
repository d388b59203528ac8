"""Notes when an organization or a user moves to another time zone, however they are saved."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.db.models.signals import post_init, post_save, pre_save

from organizations.models import Organization, User
from scheduling.zone_moves import note_move

_LOADED = "_zone_as_loaded"


def connect() -> None:
    """Starts to watch every organization and user that is saved."""
    for model in (Organization, User):
        post_init.connect(_remember, sender=model, dispatch_uid=f"scheduling.zone.remember.{model.__name__}")
        pre_save.connect(_note, sender=model, dispatch_uid=f"scheduling.zone.note.{model.__name__}")
        post_save.connect(_remember_saved, sender=model, dispatch_uid=f"scheduling.zone.hint.{model.__name__}")


def _remember(instance: Organization | User, **_: Any) -> None:
    # This does not load a deferred field. Any save then counts as a move, and the walk finds nothing to do.
    setattr(instance, _LOADED, instance.__dict__.get("timezone"))


def _note(instance: Organization | User, update_fields: Collection[str] | None, **_: Any) -> None:
    # This comes before the save. After it, a crash between the two would leave the schedules in the old zone for ever.
    if not instance._state.adding and _is_moving(instance, update_fields):
        note_move(instance)


def _remember_saved(instance: Organization | User, update_fields: Collection[str] | None, **_: Any) -> None:
    if update_fields is None or "timezone" in update_fields:
        setattr(instance, _LOADED, instance.timezone)


def _is_moving(instance: Organization | User, update_fields: Collection[str] | None) -> bool:
    is_saved = update_fields is None or "timezone" in update_fields
    return is_saved and getattr(instance, _LOADED, None) != instance.timezone
