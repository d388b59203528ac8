"""Writes the slots of a whole second before it begins, so that sending starts on time."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta

import structlog
from django.db import Error, transaction

from commands_platform.lib import clock
from commands_platform.lib.database.availability import is_away
from scheduling.batch import MAX_BATCH_BYTES, Batch
from scheduling.calendars import ExclusionsOf
from scheduling.due import lock_due_soon
from scheduling.planning import plan_ahead

logger = structlog.get_logger(__name__)

# Slots are written ahead between these times before their second. The span ends before the tick of that second.
_AHEAD_FROM, _AHEAD_UNTIL = timedelta(milliseconds=800), timedelta(milliseconds=50)
_AHEAD_BATCH = 500
_RUSH = timedelta(milliseconds=100)


class ComingSlots:
    """The slots of the whole second that is about to begin, whichever that is when a batch is written."""

    def __init__(self) -> None:
        self._second = second_after(clock.now())
        # Schedules that the tick must plan.
        self._left: list[int] = []
        self._is_done = False
        self._written_for: datetime | None = None

    def are_due(self) -> bool:
        """Returns whether slots that were written here are due about now, so that senders need the machine."""
        return self._written_for is not None and abs(clock.now() - self._written_for) < _RUSH

    def write_batch(self) -> int:
        """Writes some of them if it is time. Returns the number of ledger rows written, 0 if there is no more to do."""
        while self._may_write(now := clock.now()):
            try:
                rows, left = write_ahead_batch(now, due_at=self._second, left=self._left, limit=_AHEAD_BATCH)
            except Error as error:
                if is_away(error):
                    raise
                # The tick writes these slots, and finds out which schedule the database refuses.
                logger.error("slots_not_written_ahead", error=type(error).__name__)
                rows, left = 0, []
            self._left += left
            self._is_done = not rows and not left
            if rows:
                self._written_for = self._second
                return rows
        return 0

    def _may_write(self, now: datetime) -> bool:
        second = second_after(now)
        if second != self._second:
            self._second, self._left, self._is_done = second, [], False
        return not self._is_done and _AHEAD_UNTIL < second - now <= _AHEAD_FROM


@transaction.atomic
def write_ahead_batch(
    now: datetime, *, due_at: datetime, limit: int, left: Sequence[int] = ()
) -> tuple[int, list[int]]:
    """Writes up to `limit` slots that will be due at `due_at`.

    Skips the schedules in `left`. Returns the number of ledger rows written, and the schedules to leave to the tick.
    """
    batch, left_now = Batch(), []
    schedules = lock_due_soon(due_at=due_at, left=list(left), limit=limit, max_bytes=MAX_BATCH_BYTES)
    exclusions = ExclusionsOf(schedules)
    for schedule in schedules:
        plan = None
        # A schedule that cannot be planned is found again when it is due, and is reported then.
        with suppress(Exception):
            plan = plan_ahead(schedule, due_at, excluded=exclusions.days_of(schedule))
        if plan is None:
            left_now.append(schedule.id)
        else:
            batch.add(schedule, plan, now)
    return batch.write(now), left_now


def second_after(now: datetime) -> datetime:
    """Returns the beginning of the next whole second."""
    return now.replace(microsecond=0) + timedelta(seconds=1)
