"""Gives back repeats that were counted for runs that could not be sent.

A repeat is counted when a run is dispatched. Nothing is sent if, for example, the command is deactivated before a
sender claims the run. The sender's transaction then leaves a note. The notes are processed here, because a sender must
not wait for a schedule that somebody else has locked.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import Exists, OuterRef

from commands_platform.lib import clock
from commands_platform.lib.database.statements import execute, rows_as
from commands_platform.lib.errors import InvalidInputError
from deliveries import ledger
from deliveries.models import Kind, Reason
from scheduling.due import skipped_row
from scheduling.models import FOREVER, DeactivationReason, ScheduledExecution, UnspentRepeat
from scheduling.planning import SkippedSlots
from scheduling.recurrence import missed

logger = structlog.get_logger(__name__)

_NOTES_AT_ONCE = 500

_NOTE_UNSENT = """
INSERT INTO scheduling_unspentrepeat (schedule_uuid, due_at, reason)
SELECT d.source_uuid, d.due_at, d.reason
FROM deliveries_delivery d JOIN scheduling_scheduledexecution s ON s.uuid = d.source_uuid
WHERE d.id = ANY(%(ids)b::uuid[]) AND s.repeats <> -1
"""

# Notes of schedules that somebody else has locked do not use up the limit, so they do not hide the notes after them.
_LOCK_NOTES = """
SELECT n.id, n.schedule_uuid, n.due_at, n.reason
FROM scheduling_unspentrepeat n JOIN scheduling_scheduledexecution s ON s.uuid = n.schedule_uuid
ORDER BY n.id LIMIT %(limit)s
FOR UPDATE OF n, s SKIP LOCKED
"""


class _Note(NamedTuple):
    id: int
    schedule_uuid: UUID
    due_at: datetime
    reason: str


def note_unsent(ids: Sequence[UUID]) -> None:
    """Notes that these runs were dispatched but never sent, inside the transaction that records their outcome."""
    execute(_NOTE_UNSENT, {"ids": list(ids)})


@transaction.atomic
def give_back_repeats() -> int:
    """Processes the notes of schedules that nobody has locked. Returns the number of repeats given back.

    If the last repeat had completed the schedule, it becomes active again, with the next slot of its phase.
    """
    _drop_notes_of_deleted_schedules()
    by_schedule: dict[UUID, list[_Note]] = defaultdict(list)
    for note in rows_as(_Note, _LOCK_NOTES, {"limit": _NOTES_AT_ONCE}):
        by_schedule[note.schedule_uuid].append(note)
    if not by_schedule:
        return 0
    given_back = 0
    # The statement above has locked these rows.
    for schedule in ScheduledExecution.objects.filter(uuid__in=by_schedule).select_related("organization", "owner"):
        given_back += _give_back(schedule, by_schedule[schedule.uuid])
    done = [note.id for notes in by_schedule.values() for note in notes]
    UnspentRepeat.objects.filter(pk__in=done).delete()
    return given_back


def _drop_notes_of_deleted_schedules() -> None:
    schedules = ScheduledExecution.objects.filter(uuid=OuterRef("schedule_uuid"))
    orphans = UnspentRepeat.objects.exclude(Exists(schedules)).select_for_update(skip_locked=True)
    if found := list(orphans.values_list("pk", flat=True)[:_NOTES_AT_ONCE]):
        UnspentRepeat.objects.filter(pk__in=found).delete()


def _give_back(schedule: ScheduledExecution, notes: Sequence[_Note]) -> int:
    if schedule.repeats == FOREVER:
        # It was changed to run for ever.
        return 0
    # If repeats were set meanwhile, that number does not include the runs planned before.
    notes = [note for note in notes if schedule.repeats_since is None or note.due_at >= schedule.repeats_since]
    if not notes:
        return 0
    schedule.repeats += len(notes)
    if schedule.deactivation_reason == DeactivationReason.COMPLETED and schedule.is_recurring:
        try:
            _reactivate(schedule, Reason(notes[-1].reason), clock.now())
        except InvalidInputError:
            logger.warning("schedule_not_reactivated", schedule=schedule.name, schedule_uuid=str(schedule.uuid))
    schedule.save(update_fields=["repeats", "is_active", "next_run_at", "deactivation_reason", "updated_at"])
    return len(notes)


def _reactivate(schedule: ScheduledExecution, reason: Reason, now: datetime) -> None:
    """Makes the schedule active again, in the old phase, unless its window has no slot left.

    Slots that have passed since it was completed are recorded as skipped for the same reason.
    """
    last = schedule.slots().filter(kind=Kind.SCHEDULED).values_list("due_at", "last_due_at").last()
    if last is None:
        return
    first = schedule.slot_after(max(filter(None, last)))
    if first is not None and first <= now:
        passed = missed(schedule.recurrence, first=first, now=min(now, schedule.ends_at or now))
        skipped = SkippedSlots(first, passed.latest, passed.earlier_count + 1, reason)
        ledger.insert([skipped_row(schedule, skipped)], now=now)
        first = schedule.slot_after(now)
    if first is not None:
        schedule.is_active, schedule.deactivation_reason, schedule.next_run_at = True, "", first
