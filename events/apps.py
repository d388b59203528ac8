from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.apps import AppConfig
from django.db.models.signals import post_save, pre_save

if TYPE_CHECKING:
    from organizations.models import User

_WAS_ACTIVE = "_was_active_before_save"


class EventsConfig(AppConfig):
    name = "events"
    verbose_name = "Events"

    def ready(self) -> None:
        from deliveries.signals import deliveries_failed
        from events.signals import events_published
        from organizations.models import User

        events_published.connect(_wake_fan_out, dispatch_uid="events.events_published")
        deliveries_failed.connect(_announce_failed_deliveries, dispatch_uid="events.deliveries_failed")
        pre_save.connect(_note_user_before_save, sender=User, dispatch_uid="events.user_before_save")
        post_save.connect(_announce_user_change, sender=User, dispatch_uid="events.user_after_save")


def _wake_fan_out(**_: Any) -> None:
    from commands_platform.lib import broker
    from events.tasks import fan_out

    broker.send_hint(fan_out)


def _announce_failed_deliveries(ids: Sequence[UUID], **_: Any) -> None:
    from events.announcements import announce_failed_deliveries

    announce_failed_deliveries(ids)


def _note_user_before_save(instance: User, *, raw: bool, update_fields: Collection[str] | None, **_: Any) -> None:
    """Reads `is_active` from the database, because the instance may have changed several times since it was read."""
    if raw or (update_fields is not None and "is_active" not in update_fields):
        return
    stored = type(instance).objects.filter(pk=instance.pk).values_list("is_active", flat=True).first()
    instance.__dict__[_WAS_ACTIVE] = bool(stored)


def _announce_user_change(instance: User, **_: Any) -> None:
    from events.announcements import announce_user_change

    was_active = instance.__dict__.pop(_WAS_ACTIVE, None)
    if was_active is not None:
        announce_user_change(user=instance, was_active=was_active)
