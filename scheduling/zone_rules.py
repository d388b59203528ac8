"""Next runs follow the rules of time zones, which change with the `tzdata` package.

A next run is stored as the rules of its time gave it. The first dispatcher with newer rules begins a walk over the
active cron schedules, soonest first, and whichever dispatcher has these rules goes on with it, a portion at a time. The
newest rules win: a process with older ones, as there may be during an upgrade, changes nothing that is stored, and says
when it computed next runs by them. Then there is another walk.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction

from commands_platform.lib import clock
from commands_platform.lib.database.statements import execute, rows_of
from commands_platform.lib.errors import InvalidInputError
from scheduling.announcements import announce_completed
from scheduling.due import AHEAD, ZONE, withdraw_ahead
from scheduling.models import ScheduledExecution, ZoneRules, recurrence_of
from scheduling.recurrence import next_slot_within

logger = structlog.get_logger(__name__)

_ROWS_AT_ONCE = 500
_SECONDS_AT_ONCE = 0.2
# Well below ZoneRules.OVERLAP: a use that was not told is followed, or was preceded, by one that was.
_SECONDS_BETWEEN_LOOKS = 10.0

_next_look_at = 0.0

_COUNTS = ("seen", "changed", "held", "invalid")

_COLUMNS = f"""
s.id, s.uuid, s.name, s.organization_id, s.cron, s.cron_seconds, s.dst_gap, s.dst_overlap, s.execution_frequency,
s.anchor_at, {ZONE}, s.starts_at, s.ends_at, s.next_run_at
"""
_PARTIES = """
JOIN organizations_organization o ON o.id = s.organization_id
LEFT JOIN organizations_user u ON u.id = s.owner_id
"""

# In the order of the index of what is due, whatever it is that is due: a portion reads so many rows and no more.
_PORTION = f"""
SELECT {_COLUMNS}
FROM (
    SELECT * FROM scheduling_scheduledexecution
    WHERE is_active AND next_run_at >= %(at)s AND (next_run_at > %(at)s OR id > %(id)s)
    ORDER BY next_run_at, id LIMIT %(limit)s
) s
{_PARTIES}
ORDER BY s.next_run_at, s.id
"""

# Nobody is waited for.
_LOCK = f"""
SELECT {_COLUMNS}
FROM scheduling_scheduledexecution s
{_PARTIES}
WHERE s.id = ANY(%(ids)b::bigint[]) AND s.is_active AND s.cron <> ''
FOR UPDATE OF s SKIP LOCKED
"""

_MOVE = """
UPDATE scheduling_scheduledexecution s
SET next_run_at = v.next_run_at, effective_from = %(now)s, updated_at = %(now)s, is_active = v.next_run_at IS NOT NULL,
    deactivation_reason = CASE WHEN v.next_run_at IS NULL THEN 'completed' ELSE '' END
FROM unnest(%(ids)b::bigint[], %(next_run_at)b::timestamptz[]) AS v(id, next_run_at)
WHERE s.id = v.id
"""


class _Schedule(NamedTuple):
    """What a next run is computed from, and whom its end is told to."""

    id: int
    uuid: UUID
    name: str
    organization_id: int
    cron: str
    cron_seconds: bool
    dst_gap: str
    dst_overlap: str
    execution_frequency: int
    anchor_at: datetime
    zone: str
    starts_at: datetime | None
    ends_at: datetime | None
    next_run_at: datetime

    def slot_after(self, instant: datetime) -> datetime | None:
        recurrence = recurrence_of(self, zone=self.zone)
        return next_slot_within(recurrence, after=instant, starts_at=self.starts_at, ends_at=self.ends_at)

    def is_as_computed(self, now: datetime) -> bool:
        """Whether its next run is the next slot, or the one after that, where the next is in the ledger already."""
        following = self.slot_after(now)
        if following is not None and following < self.next_run_at and following - now <= AHEAD:
            following = self.slot_after(following)
        return following == self.next_run_at


def note_use() -> None:
    """Says that next runs were computed by the rules of this process, where newer ones are known.

    It is called once they are committed. It looks for newer ones every few seconds at most.
    """
    global _next_look_at  # noqa: PLW0603
    if time.monotonic() < _next_look_at:
        return
    _next_look_at = time.monotonic() + _SECONDS_BETWEEN_LOOKS
    own = settings.TZDATA_VERSION
    if any(version > own for version in _known_versions()):
        now = clock.now()
        ZoneRules.objects.bulk_create(
            [ZoneRules(version=own, first_used_at=now, last_used_at=now)],
            update_conflicts=True,
            unique_fields=["version"],
            update_fields=["last_used_at"],
        )


def follow() -> int:
    """Walks on for a part of a second, where there is a walk to make; how many next runs it changed."""
    own, known = settings.TZDATA_VERSION, _known_versions()
    if any(version > own for version in known):
        return 0
    if own not in known:
        # Committed by itself: whoever else comes with the same rules must not wait for the first portion.
        ZoneRules.objects.bulk_create([ZoneRules(version=own, first_used_at=clock.now())], ignore_conflicts=True)
    changed = 0
    ends_at = time.monotonic() + _SECONDS_AT_ONCE
    while (portion := _walk_on(own)) is not None:
        changed += portion
        if time.monotonic() >= ends_at:
            break
    return changed


def are_newest() -> bool:
    """Returns whether no other process is known to have newer rules than this one."""
    return all(version <= settings.TZDATA_VERSION for version in _known_versions())


def _known_versions() -> set[str]:
    return set(ZoneRules.objects.values_list("version", flat=True))


@transaction.atomic
def _walk_on(own: str) -> int | None:
    """Looks at the next portion; how many next runs it changed, None where nothing is to be done here."""
    # One dispatcher at a time; with its changes it commits how far it has come.
    rules = ZoneRules.objects.select_for_update(skip_locked=True).filter(version=own).first()
    if rules is None:
        return None
    now = clock.now()
    if not rules.is_under_way:
        if not rules.must_begin(others=ZoneRules.objects.exclude(version=own), now=now):
            return None
        rules.begin(now)
        # A new platform has nothing to recompute, so it logs nothing.
        if ScheduledExecution.objects.exists():
            logger.info("next_runs_recompute_began", zone_rules=own)
    changed = _look_at_next(rules, now)
    if rules.finished_at is not None:
        counts = {name: getattr(rules, name) for name in _COUNTS}
        if any(counts.values()):
            logger.info("next_runs_recomputed", zone_rules=own, **counts)
    rules.save(update_fields=["began_at", "finished_at", "reached_at", "reached_id", *_COUNTS])
    return changed


def _look_at_next(rules: ZoneRules, now: datetime) -> int:
    parameters = {"at": rules.reached_at, "id": rules.reached_id, "limit": _ROWS_AT_ONCE}
    portion = [_Schedule._make(row) for row in rows_of(_PORTION, parameters)]
    found = []
    for schedule in portion:
        # What has become due meanwhile is the dispatcher's, which computes what follows by the new rules.
        if not schedule.cron or schedule.next_run_at <= now:
            continue
        rules.seen += 1
        try:
            if not schedule.is_as_computed(now):
                found.append(schedule.id)
        except InvalidInputError:
            # Its zone is gone, say. The dispatcher deactivates it when it is due.
            rules.invalid += 1
        except Exception:
            # A schedule that cannot be computed must not stop the others.
            rules.invalid += 1
            logger.exception("next_run_not_recomputed", schedule=schedule.name, schedule_uuid=str(schedule.uuid))
    changed = _move(found, rules) if found else 0
    if len(portion) < _ROWS_AT_ONCE:
        rules.finished_at = clock.now()
    else:
        rules.reached_at, rules.reached_id = portion[-1].next_run_at, portion[-1].id
    return changed


def _move(found: Sequence[int], rules: ZoneRules) -> int:
    """Computes the next runs of these anew, as they are once they are locked; how many."""
    locked = [_Schedule._make(row) for row in rows_of(_LOCK, {"ids": found})]
    # What somebody holds may still be as older rules gave it when they let go.
    rules.held += len(found) - len(locked)
    # Read once they are locked: a slot that was fired since they were looked at lies before it.
    now = clock.now()
    # A slot that was written ahead, by the older rules, is computed anew too.
    withdrawn = withdraw_ahead([schedule.uuid for schedule in locked], now=now, waits=False)
    locked = [each._replace(next_run_at=withdrawn.get(each.id, each.next_run_at)) for each in locked]
    moved = [(schedule, schedule.slot_after(now)) for schedule in locked if schedule.next_run_at > now]
    ids, next_runs = [schedule.id for schedule, _ in moved], [next_run for _, next_run in moved]
    execute(_MOVE, {"ids": ids, "next_run_at": next_runs, "now": now})
    # By the new rules no slot is left before they end.
    announce_completed([schedule for schedule, next_run in moved if next_run is None], now)
    rules.changed += len(moved)
    return len(moved)
