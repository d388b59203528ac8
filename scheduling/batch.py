"""Collects the plans of one batch of schedules, and writes them in one transaction."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from commands_platform.lib.database.statements import execute
from deliveries import ledger
from deliveries.ledger import NewRow
from deliveries.models import Reason
from scheduling.announcements import announce_completed, announce_deactivated
from scheduling.due import extend_latest, insert_slots, skipped_row
from scheduling.models import DeactivationReason
from scheduling.planning import DueSchedule, Plan, SkippedSlots, Slot

# Bounds the payloads of one batch.
MAX_BATCH_BYTES = 4 * 1024 * 1024

_ADVANCE = """
UPDATE scheduling_scheduledexecution s SET next_run_at = v.next_run_at, repeats = v.repeats
FROM unnest(%(ids)b::bigint[], %(next_run_at)b::timestamptz[], %(repeats)b::int[]) AS v(id, next_run_at, repeats)
WHERE s.id = v.id
"""

_END = """
UPDATE scheduling_scheduledexecution s
SET is_active = false, next_run_at = NULL, repeats = v.repeats, deactivation_reason = v.reason, updated_at = %(now)s
FROM unnest(%(ids)b::bigint[], %(repeats)b::int[], %(reasons)b::text[]) AS v(id, repeats, reason)
WHERE s.id = v.id
"""


# Slots that are skipped again and again for one of these reasons share a row.
_SHARING_A_ROW = frozenset((Reason.OVERLAP, Reason.EXCLUDED))


@dataclass(slots=True)
class Batch:
    """The plans of one batch, sorted by the statement that writes them."""

    slots: list[Slot] = field(default_factory=list)
    waiting: list[Slot] = field(default_factory=list)
    skipped: list[NewRow] = field(default_factory=list)
    continuing: list[tuple[DueSchedule, SkippedSlots]] = field(default_factory=list)
    """Skipped slots that may continue the schedule's latest row."""
    advanced: list[tuple[int, datetime, int]] = field(default_factory=list)
    ended: list[tuple[int, int, DeactivationReason]] = field(default_factory=list)
    completed: list[DueSchedule] = field(default_factory=list)
    invalid: list[DueSchedule] = field(default_factory=list)
    has_more_due: bool = False

    def add(self, schedule: DueSchedule, plan: Plan, now: datetime) -> None:
        self.slots.extend(plan.slots)
        self.waiting.extend(plan.waiting)
        for skipped in plan.skipped:
            if skipped.reason in _SHARING_A_ROW and skipped.due_at == schedule.next_run_at:
                self.continuing.append((schedule, skipped))
            else:
                self.skipped.append(skipped_row(schedule, skipped))
        if plan.next_run_at is None:
            self.ended.append((schedule.id, plan.repeats, DeactivationReason.COMPLETED))
            self.completed.append(schedule)
        else:
            self.advanced.append((schedule.id, plan.next_run_at, plan.repeats))
            self.has_more_due = self.has_more_due or plan.next_run_at <= now

    def add_invalid(self, schedule: DueSchedule) -> None:
        due_at = schedule.next_run_at
        self.skipped.append(skipped_row(schedule, SkippedSlots(due_at, due_at, 1, Reason.INVALID_SCHEDULE)))
        self.ended.append((schedule.id, schedule.repeats, DeactivationReason.INVALID))
        self.invalid.append(schedule)

    def write(self, now: datetime) -> int:
        """Writes everything inside the caller's transaction. Returns the number of ledger rows written."""
        insert_slots(self.slots, now=now)
        insert_slots(self.waiting, now=now, wait=True)
        ledger.insert(self.skipped, now=now)
        self._write_continuing(now)
        if self.advanced:
            ids, next_runs, repeats = zip(*self.advanced, strict=True)
            execute(_ADVANCE, {"ids": list(ids), "next_run_at": list(next_runs), "repeats": list(repeats)})
        if self.ended:
            ids, repeats, reasons = zip(*self.ended, strict=True)
            execute(_END, {"ids": list(ids), "repeats": list(repeats), "reasons": list(reasons), "now": now})
        announce_completed(self.completed, now)
        announce_deactivated(self.invalid, DeactivationReason.INVALID, now)
        return len(self.slots) + len(self.waiting) + len(self.skipped) + len(self.continuing)

    def _write_continuing(self, now: datetime) -> None:
        extended = extend_latest(self.continuing, now=now)
        rows = [
            skipped_row(schedule, skipped) for schedule, skipped in self.continuing if schedule.uuid not in extended
        ]
        ledger.insert(rows, now=now)
