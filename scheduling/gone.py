"""Deactivates schedules whose receiver answered 410 Gone.

A schedule stays active if it was changed or resumed since, or has another URL now. A schedule whose row somebody holds
is left to the next look.
"""

from __future__ import annotations

from datetime import datetime
from functools import cache
from typing import NamedTuple

from django.db import transaction

from commands_platform.lib import clock
from commands_platform.lib.database.statements import rows_as
from deliveries import gone
from deliveries.gone import GoneWalk, Lookback
from events.gone import remove_gone_hooks
from scheduling.failures import deactivate_locked
from scheduling.models import DeactivationReason, ScheduledExecution

_GONE_SCHEDULES = """
SELECT DISTINCT s.id, s.effective_from
FROM deliveries_finished d
JOIN scheduling_scheduledexecution s ON s.uuid = d.source_uuid AND s.is_active
JOIN organizations_command c ON c.id = s.command_id
WHERE d.reason = 'gone' AND d.kind <> 'event' AND d.finished_at > %(since)s AND d.finished_at >= s.effective_from
  AND d.url = CASE WHEN s.callback_url = '' THEN c.callback_url ELSE s.callback_url END
  AND s.id > %(after)s
ORDER BY s.id LIMIT %(limit)s
"""


class _GoneSchedule(NamedTuple):
    id: int
    effective_from: datetime


def follow_gone() -> None:
    """Deactivates the schedules and removes the hooks whose receiver has recently answered 410."""
    since = _lookback().since()
    deactivate_gone(since=since)
    remove_gone_hooks(since=since)


def deactivate_gone(*, since: datetime) -> int:
    """Deactivates the schedules whose receiver has answered 410 since then. Returns their number."""

    def find(after: int) -> list[_GoneSchedule]:
        return rows_as(_GoneSchedule, _GONE_SCHEDULES, {"since": since, "after": after, "limit": gone.MAX_GONE_AT_ONCE})

    return _process_walk().walk_on(find=find, end=_deactivate)


@transaction.atomic
def _deactivate(found: _GoneSchedule) -> bool:
    rows = ScheduledExecution.objects.active().filter(pk=found.id, effective_from=found.effective_from)
    schedule = rows.lock_free()
    return schedule is not None and deactivate_locked(schedule, DeactivationReason.GONE, clock.now())


@cache
def _lookback() -> Lookback:
    return Lookback()


@cache
def _process_walk() -> GoneWalk:
    return GoneWalk()
