"""Lists the slots that a schedule will have, for callers to look at. Nothing here touches the database."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from commands_platform.lib.zones import load_zone
from scheduling.excluded_days import is_excluded
from scheduling.models import ScheduledExecution
from scheduling.recurrence import note_of
from scheduling.wall_slots import ClockNote

MAX_UPCOMING_SLOTS = 100

_MOMENT = timedelta(microseconds=1)

Note = ClockNote | Literal["excluded"]
NOTES: tuple[Note, ...] = ("after_gap", "first_of_two", "second_of_two", "excluded")


class UpcomingSlot(NamedTuple):
    due_at: datetime
    local: str
    """The local time with its offset, ISO 8601."""
    note: Note | None


def upcoming_slots(schedule: ScheduledExecution, *, count: int, since: datetime | None) -> list[UpcomingSlot]:
    """Returns up to `count` slots: those at or after `since`, or else those from the next run on.

    There are no more runs than the schedule has repeats left. Raises InvalidInputError if the slots cannot be computed.
    """
    recurrence, zone = schedule.recurrence, load_zone(schedule.zone)
    found: list[UpcomingSlot] = []
    runs = 0
    for slot in _slots(schedule, since):
        if len(found) == count or runs == schedule.repeats:
            break
        note: Note | None = "excluded"
        if not is_excluded(slot, schedule.zone, schedule.excluded_days):
            note, runs = note_of(recurrence, slot), runs + 1
        found.append(UpcomingSlot(slot, slot.astimezone(zone).isoformat(), note))
    return found


def _slots(schedule: ScheduledExecution, since: datetime | None) -> Iterator[datetime]:
    first = schedule.next_run_at
    if since is not None:
        first = schedule.slot_after(since - _MOMENT)
    while first is not None:
        yield first
        first = schedule.slot_after(first)
