"""Announces that a schedule is completed or was deactivated, as the platform's own events."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import structlog
from django.db import DataError, transaction

from events.catalogue import SAMPLE_UUID, event_type
from events.publishing import NewEvent, publish
from scheduling.models import DeactivationReason
from scheduling.schedule_log import NamedSchedule, log_completed, log_deactivated

logger = structlog.get_logger(__name__)

_SAMPLE = {"schedule_uuid": SAMPLE_UUID, "name": "Weekly report"}
COMPLETED = event_type(
    "platform.schedule.completed", "A schedule has run as often as it should.", {**_SAMPLE, "reason": "completed"}
)
DEACTIVATED = event_type(
    "platform.schedule.deactivated",
    "The platform has deactivated a schedule. `failures` is there only if the reason is `failing`.",
    {**_SAMPLE, "reason": "failing", "failures": 100},
)


class AnnouncedSchedule(NamedSchedule, Protocol):
    """The attributes of a schedule that an announcement needs."""

    @property
    def organization_id(self) -> int: ...


def announce_completed(schedules: Sequence[AnnouncedSchedule], now: datetime) -> None:
    """Publishes `platform.schedule.completed` for each, inside the transaction that completes them."""
    _announce(COMPLETED, schedules, {"reason": DeactivationReason.COMPLETED}, now)
    log_completed(schedules)


def announce_deactivated(
    schedules: Sequence[AnnouncedSchedule], reason: DeactivationReason, now: datetime, *, failures: int | None = None
) -> None:
    """Publishes `platform.schedule.deactivated` for each, inside the transaction that deactivates them.

    `failures` is the number of failed runs in a row, if the schedule was deactivated for them.
    """
    _announce(DEACTIVATED, schedules, {"reason": reason} | ({} if failures is None else {"failures": failures}), now)
    log_deactivated(schedules, reason, failures=failures)


def _announce(
    name: str, schedules: Sequence[AnnouncedSchedule], details: dict[str, object], happened_at: datetime
) -> None:
    if not schedules:
        return
    events = [
        NewEvent(
            organization_id=schedule.organization_id,
            name=name,
            body={"schedule_uuid": str(schedule.uuid), "name": schedule.name, **details},
            object_id=str(schedule.uuid),
            happened_at=happened_at,
        )
        for schedule in schedules
    ]
    try:
        with transaction.atomic():
            publish(events)
    except DataError:
        # The change itself must be kept even if its announcement cannot be stored.
        logger.exception("event_not_announced", name=name, count=len(events))
