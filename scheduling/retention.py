"""Keeps the ledger within its bounds, a small portion at a time."""

from __future__ import annotations

import time
from functools import cache

from django.conf import settings

from deliveries.retention import Sweep, remove_surplus
from scheduling.models import ScheduledExecution

_REMOVED_AT_ONCE = 2_000
_SCHEDULES_AT_ONCE = 50
_MAX_SECONDS_AT_ONCE = 0.2


class _Round:
    """Remembers the last schedule of a portion. The next portion begins after it."""

    def __init__(self) -> None:
        self.last_pk = 0

    def next_schedules(self) -> list[ScheduledExecution]:
        rows = ScheduledExecution.objects.filter(pk__gt=self.last_pk).order_by("pk").only("pk", "uuid")
        found = list(rows[:_SCHEDULES_AT_ONCE])
        self.last_pk = found[-1].pk if len(found) == _SCHEDULES_AT_ONCE else 0
        return found


@cache
def _process_state() -> tuple[Sweep, _Round]:
    return Sweep(settings.LEDGER_KEEP_FINISHED, settings.LEDGER_KEEP_FAILED), _Round()


def remove_finished() -> int:
    """Removes some old rows of the ledger, and the surplus rows of some schedules. Returns the number removed."""
    sweep, round_ = _process_state()
    removed = 0
    # If many rows are old it goes on, but not for long, so that it does not delay the next tick.
    ends_at = time.monotonic() + _MAX_SECONDS_AT_ONCE
    while portion := sweep.remove_aged(limit=_REMOVED_AT_ONCE):
        removed += portion
        if time.monotonic() > ends_at:
            break
    for schedule in round_.next_schedules():
        removed += remove_surplus(
            source_uuid=schedule.uuid, keep=settings.LEDGER_KEEP_PER_SCHEDULE, limit=_REMOVED_AT_ONCE // 2
        )
    return removed
