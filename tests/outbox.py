"""Fans out published events, as the thread of a dispatcher does."""

from __future__ import annotations

from collections.abc import Sequence

from deliveries.models import Delivery, Kind
from events.outbox import process_fan_out
from events.publishing import NewEvent, publish


def fan_out() -> int:
    """Fans out every event in the outbox. Returns the number of deliveries written."""
    before = _events()
    while process_fan_out().write_portion():
        pass
    return _events() - before


def published(events: Sequence[NewEvent]) -> int:
    """Publishes the events and fans them out. Returns the number of deliveries written."""
    publish(events)
    return fan_out()


def _events() -> int:
    return Delivery.objects.filter(kind=Kind.EVENT).count()
