"""Builds the part of a schedule's page below its fields: the next runs and the latest deliveries."""

from __future__ import annotations

from datetime import timedelta
from itertools import islice
from typing import Any

from django.utils import timezone

from commands_platform.lib.errors import PlatformError
from commands_platform.operators import html
from deliveries.admin.columns import state_badge
from deliveries.models import Delivery
from scheduling.models import FOREVER, ScheduledExecution
from scheduling.recurrence import load_zone, slots

_MAX_SLOTS_SHOWN = 5
_MAX_DELIVERIES_SHOWN = 10


def next_slot_rows(schedule: ScheduledExecution) -> dict[str, Any]:
    """Returns the next runs in the schedule's zone and in UTC, or a note that says why they cannot be computed."""
    now = timezone.now()
    limit = _MAX_SLOTS_SHOWN if schedule.repeats == FOREVER else min(_MAX_SLOTS_SHOWN, schedule.repeats)
    try:
        zone = load_zone(schedule.zone)
        after = now if schedule.starts_at is None else max(now, schedule.starts_at - timedelta(microseconds=1))
        upcoming = list(islice(slots(schedule.recurrence, after=after, until=schedule.ends_at), limit))
    except PlatformError as error:
        return {"rows": [], "note": error.message}
    rows = [
        {
            "local": slot.astimezone(zone).strftime("%a %Y-%m-%d %H:%M:%S %Z"),
            "instant": html.instant(slot),
            "distance": html.distance(slot, now=now),
        }
        for slot in upcoming
    ]
    note = "" if schedule.is_active else "The schedule is not active. If it were, it would run at these times."
    return {"rows": rows, "note": note if rows else "", "zone": schedule.zone}


def delivery_rows(schedule: ScheduledExecution) -> list[dict[str, Any]]:
    latest = Delivery.objects.of_source(schedule.uuid).order_by("-due_at").defer("body", "attempts")
    return [
        {
            "link": html.link_to("deliveries_delivery_change", delivery.pk, text=html.instant(delivery.due_at)),
            "distance": html.distance(delivery.due_at),
            "state": state_badge(delivery.state),
            "why": delivery.get_reason_display(),
            "slot_count": delivery.slot_count,
            "kind": delivery.get_kind_display(),
            "attempts": delivery.attempt_count,
            "status": delivery.last_status,
        }
        for delivery in latest[:_MAX_DELIVERIES_SHOWN]
    ]
