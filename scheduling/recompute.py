"""Recomputes next runs when the rules of time zones have changed, or somebody's time zone.

A walk goes over schedules in portions. Each portion is one transaction, which reads without locks, locks only the
schedules that have to move, with SKIP LOCKED, and records how far the walk has come. So nobody waits for a walk, and a
crash loses one portion at most.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import structlog

from commands_platform.lib import clock
from commands_platform.lib.database.statements import execute, rows_as, rows_of
from commands_platform.lib.errors import InvalidInputError
from deliveries import ledger
from deliveries.models import Reason
from scheduling.announcements import announce_completed
from scheduling.due import AHEAD, ZONE, skipped_row, withdraw_ahead
from scheduling.models import recurrence_of
from scheduling.planning import SkippedSlots
from scheduling.recurrence import missed, next_slot_within
from scheduling.walks import Walk

logger = structlog.get_logger(__name__)

PORTION_SIZE = 500
MAX_SECONDS_AT_ONCE = 0.2

ZONE_JOINS = """
JOIN organizations_organization o ON o.id = s.organization_id
LEFT JOIN organizations_user u ON u.id = s.owner_id
"""
SCHEDULE_COLUMNS = f"""
s.id, s.uuid, s.name, s.organization_id, s.command_id, s.owner_id, s.is_active, s.cron, s.cron_seconds, s.dst_gap,
s.dst_overlap, s.every, s.execution_frequency, s.spread, s.anchor_at, {ZONE} AS zone, s.starts_at, s.ends_at,
s.effective_from, s.next_run_at
"""

ON_WALL_CLOCK = "(s.cron <> '' OR s.every <> '')"

_LOCK_STALE = f"""
SELECT {SCHEDULE_COLUMNS}, true AS is_concerned
FROM scheduling_scheduledexecution s
{ZONE_JOINS}
WHERE s.id = ANY(%(ids)b::bigint[]) AND {ON_WALL_CLOCK} AND s.next_run_at IS NOT NULL
FOR UPDATE OF s SKIP LOCKED
"""

# This uses the unique index of slots, and reads only the short time since the change.
_PLANNED = """
SELECT source_uuid, max(COALESCE(last_due_at, due_at)) FROM deliveries_delivery
WHERE source_uuid = ANY(%(sources)b::uuid[]) AND due_at > %(since)s AND kind = 'scheduled'
GROUP BY source_uuid
"""

_MOVE = """
UPDATE scheduling_scheduledexecution s
SET next_run_at = v.next_run_at, effective_from = v.effective_from,
    is_active = s.is_active AND v.next_run_at IS NOT NULL,
    deactivation_reason = CASE WHEN s.is_active AND v.next_run_at IS NULL THEN 'completed'
        ELSE s.deactivation_reason END,
    updated_at = CASE WHEN s.next_run_at IS DISTINCT FROM v.next_run_at THEN %(now)s ELSE s.updated_at END
FROM unnest(%(ids)b::bigint[], %(next_run_at)b::timestamptz[], %(effective_from)b::timestamptz[])
    AS v(id, next_run_at, effective_from)
WHERE s.id = v.id
"""


class Schedule(NamedTuple):
    """The columns of a schedule that its next run, its ledger rows and its events need."""

    id: int
    uuid: UUID
    name: str
    organization_id: int
    command_id: int
    owner_id: int | None
    is_active: bool
    cron: str
    cron_seconds: bool
    dst_gap: str
    dst_overlap: str
    every: str
    execution_frequency: int
    spread: int
    anchor_at: datetime
    zone: str
    starts_at: datetime | None
    ends_at: datetime | None
    effective_from: datetime
    next_run_at: datetime
    is_concerned: bool
    """Whether the change can move it: its rule is one of a wall clock, and it has a next run."""

    def slot_after(self, instant: datetime) -> datetime | None:
        recurrence = recurrence_of(self, zone=self.zone)
        return next_slot_within(recurrence, after=instant, starts_at=self.starts_at, ends_at=self.ends_at)

    def is_as_computed(self, now: datetime) -> bool:
        """Returns whether its next run is the next slot, or the one after that if the next was written ahead."""
        following = self.slot_after(now)
        if following is not None and following < self.next_run_at and following - now <= AHEAD:
            following = self.slot_after(following)
        return following == self.next_run_at


def recompute_portion(portion: Sequence[Schedule], walk: Walk, *, changed_at: datetime | None = None) -> int:
    """Moves the schedules of a portion whose next run has changed. Returns their number.

    A schedule whose timing is older than `changed_at`, the time of the change, is computed from then on, so that no new
    slot is lost before the walk reaches it. Without `changed_at`, schedules are computed from now on.
    """
    now = clock.now()
    found = []
    for schedule in portion:
        if not schedule.is_concerned:
            continue
        if _is_due(schedule, now):
            # The dispatcher runs it and computes its following run. Only the start of its timing may have to move.
            walk.held += changed_at is not None and schedule.effective_from < changed_at
            continue
        walk.seen += 1
        try:
            is_stale = changed_at is not None and schedule.effective_from < changed_at
            # A paused schedule is computed when it is resumed. Until then only the start of its timing matters.
            if is_stale or (schedule.is_active and not schedule.is_as_computed(now)):
                found.append(schedule.id)
        except InvalidInputError:
            # Its zone may no longer exist, for example. The dispatcher deactivates it when it is due.
            walk.invalid += 1
        except Exception:
            # A schedule that cannot be computed must not stop the others.
            walk.invalid += 1
            logger.exception("next_run_not_recomputed", schedule=schedule.name, schedule_uuid=str(schedule.uuid))
    return _move(found, walk, changed_at) if found else 0


def move_to_slots_between(portion: Sequence[Schedule], *, zone: str, begins_at: datetime, ends_at: datetime) -> int:
    """Moves schedules that had a slot in `zone` between these instants to that slot, so that it runs late.

    Those that have been computed since `begins_at` stay. Returns the number of schedules moved.
    """
    now = clock.now()
    found = [each.id for each in portion if _slot_between(each, zone, begins_at, ends_at, now) is not None]
    if not found:
        return 0
    locked = rows_as(Schedule, _LOCK_STALE, {"ids": found})
    planned = dict(rows_of(_PLANNED, {"sources": [each.uuid for each in locked], "since": begins_at}))
    now, moved = clock.now(), []
    for schedule in locked:
        since = max(begins_at, planned.get(schedule.uuid, begins_at))
        slot = _slot_between(schedule, zone, since, ends_at, now)
        if slot is not None:
            moved.append((schedule.id, slot, since))
    _write_moves(moved, now)
    return len(moved)


def _slot_between(
    schedule: Schedule, zone: str, begins_at: datetime, ends_at: datetime, now: datetime
) -> datetime | None:
    """Returns its first slot in that zone between these instants, or None if it does not follow the move any more."""
    is_stale = schedule.is_concerned and schedule.is_active and schedule.effective_from < begins_at
    if not is_stale or _is_due(schedule, now):
        return None
    try:
        slot = schedule._replace(zone=zone).slot_after(begins_at)
    except InvalidInputError:
        # The dispatcher deactivates it when it is due.
        return None
    return slot if slot is not None and slot <= ends_at else None


def _is_due(schedule: Schedule, now: datetime) -> bool:
    return schedule.is_active and schedule.next_run_at <= now


def _move(ids: Sequence[int], walk: Walk, changed_at: datetime | None) -> int:
    """Locks these schedules and recomputes their next runs. Returns the number of next runs that have changed."""
    locked = rows_as(Schedule, _LOCK_STALE, {"ids": ids})
    # A row that somebody else holds may be stored with a next run from before the change.
    walk.held += len(ids) - len(locked)
    # The clock is read after the locks were taken, so that slots dispatched in the meantime lie before it.
    now = clock.now()
    # A slot that was written ahead is recomputed too.
    withdrawn = withdraw_ahead([schedule.uuid for schedule in locked], now=now, waits=False)
    planned: dict[UUID, datetime] = {}
    if changed_at is not None and locked:
        planned = dict(rows_of(_PLANNED, {"sources": [each.uuid for each in locked], "since": changed_at}))
    moved, changed, completed = [], 0, []
    for row in locked:
        schedule = row._replace(next_run_at=withdrawn.get(row.id, row.next_run_at))
        if _is_due(schedule, now):
            walk.held += changed_at is not None
            continue
        if changed_at is None and not schedule.is_active:
            # It was paused after the walk read it.
            continue
        since = now
        if changed_at is not None and schedule.effective_from < changed_at:
            since = max(changed_at, planned.get(schedule.uuid, changed_at))
        try:
            following = schedule.slot_after(since)
            if not schedule.is_active:
                _record_pause(schedule, since, now)
        except InvalidInputError:
            walk.invalid += 1
            continue
        moved.append((schedule.id, following, since))
        changed += following != row.next_run_at
        if following is None and schedule.is_active:
            completed.append(schedule)
    _write_moves(moved, now)
    announce_completed(completed, now)
    walk.changed += changed
    return changed


def _write_moves(moved: Sequence[tuple[int, datetime | None, datetime]], now: datetime) -> None:
    """Writes the next run and the start of the timing of each schedule."""
    if not moved:
        return
    ids, next_runs, effective_from = zip(*moved, strict=True)
    parameters = {"ids": list(ids), "next_run_at": list(next_runs), "effective_from": list(effective_from), "now": now}
    execute(_MOVE, parameters)


def _record_pause(schedule: Schedule, until: datetime, now: datetime) -> None:
    """Records the slots of a pause up to `until` as skipped, before the next run moves beyond it."""
    if schedule.next_run_at > until:
        return
    end = until if schedule.ends_at is None else min(until, schedule.ends_at)
    passed = missed(
        recurrence_of(schedule, zone=schedule.zone), first=schedule.next_run_at, now=max(schedule.next_run_at, end)
    )
    skipped = SkippedSlots(schedule.next_run_at, passed.latest, passed.earlier_count + 1, Reason.PAUSED)
    ledger.insert([skipped_row(schedule, skipped)], now=now)
