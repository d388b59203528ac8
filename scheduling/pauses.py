"""Resumes schedules whose pause has an end, when it has come. Housekeeping does this every second."""

from __future__ import annotations

from datetime import timedelta

import structlog
from django.db import transaction

from commands_platform.lib import clock
from commands_platform.lib.errors import PlatformError
from scheduling import services
from scheduling.models import ScheduledExecution

logger = structlog.get_logger(__name__)

_RESUMED_AT_ONCE = 50
_MOMENT = timedelta(microseconds=1)


def resume_paused() -> int:
    """Resumes schedules at the end of their pauses. Returns their number. Locked ones are left to the next call.

    A schedule is resumed as of the end of its pause. So a slot at or after that time runs, even if it is late.
    """
    resumed = 0
    with transaction.atomic():
        ended = ScheduledExecution.objects.select_for_update(skip_locked=True).filter(paused_until__lte=clock.now())
        for schedule in ended.order_by("paused_until")[:_RESUMED_AT_ONCE]:
            assert schedule.paused_until is not None  # noqa: S101 (the filter sees to it)
            try:
                with transaction.atomic():
                    services.resume(schedule=schedule, as_of=schedule.paused_until - _MOMENT)
                resumed += 1
            except PlatformError as error:
                # For example, its window has ended. It stays paused.
                logger.warning(
                    "schedule_not_resumed",
                    error=error.message,
                    schedule=schedule.name,
                    schedule_uuid=str(schedule.uuid),
                )
                ScheduledExecution.objects.filter(pk=schedule.pk).update(paused_until=None)
    return resumed
