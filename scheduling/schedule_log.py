"""Writes the log lines about schedules. They never contain a payload or a callback URL."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol
from uuid import UUID

import structlog
from django.db import transaction

from commands_platform.lib.instants import format_instant
from scheduling.models import DeactivationReason, ScheduledExecution

logger = structlog.get_logger(__name__)

# If more schedules than this end together, only their number is logged. A line for each would delay the dispatcher.
_MAX_LINES = 5


class NamedSchedule(Protocol):
    """The attributes of a schedule that the log needs."""

    @property
    def uuid(self) -> UUID: ...
    @property
    def name(self) -> str: ...


def log_created(schedule: ScheduledExecution) -> None:
    _log_on_commit("schedule_created", schedule, next_run_at=_next_run(schedule))


def log_all_created(schedules: Sequence[ScheduledExecution]) -> None:
    if len(schedules) > _MAX_LINES:
        transaction.on_commit(lambda: logger.info("schedules_created", count=len(schedules)), robust=True)
        return
    for schedule in schedules:
        log_created(schedule)


def log_changed(schedule: ScheduledExecution, fields: Iterable[str]) -> None:
    changed = set(fields)
    event = "schedule_changed"
    if "is_active" in changed:
        event = "schedule_resumed" if schedule.is_active else "schedule_paused"
        changed.discard("is_active")
    _log_on_commit(event, schedule, fields=",".join(sorted(changed)) or None, next_run_at=_next_run(schedule))


def log_deleted(schedule: ScheduledExecution) -> None:
    _log_on_commit("schedule_deleted", schedule)


def log_completed(schedules: Sequence[NamedSchedule]) -> None:
    if len(schedules) > _MAX_LINES:
        transaction.on_commit(lambda: logger.info("schedules_completed", count=len(schedules)), robust=True)
        return
    for schedule in schedules:
        _log_on_commit("schedule_completed", schedule)


def log_deactivated(
    schedules: Sequence[NamedSchedule], reason: DeactivationReason, *, failures: int | None = None
) -> None:
    for schedule in schedules[:_MAX_LINES]:
        _log_on_commit("schedule_deactivated", schedule, "warning", reason=str(reason), failures=failures)
    if len(schedules) > _MAX_LINES:
        count = len(schedules) - _MAX_LINES
        transaction.on_commit(lambda: logger.warning("more_schedules_deactivated", count=count), robust=True)


def _log_on_commit(event: str, schedule: NamedSchedule, level: str = "info", **facts: str | int | None) -> None:
    facts = {"schedule": schedule.name, **facts, "schedule_uuid": str(schedule.uuid)}
    transaction.on_commit(lambda: getattr(logger, level)(event, **facts), robust=True)


def _next_run(schedule: ScheduledExecution) -> str | None:
    # A paused schedule keeps its place, but does not run.
    return format_instant(schedule.next_run_at) if schedule.is_active and schedule.next_run_at else None
