"""Recomputes next runs when the rules of time zones change, which come with the `tzdata` package.

The first dispatcher with newer rules begins a walk over the active schedules that follow a wall clock, soonest first.
Every dispatcher with these rules takes part, a portion at a time. The newest rules win: during an upgrade, a process
with older rules does not recompute any stored run. If it computes new ones by its own rules, it notes the time, and
there is another walk.
"""

from __future__ import annotations

import time

import structlog
from django.conf import settings
from django.db import transaction

from commands_platform.lib import clock
from commands_platform.lib.database.statements import rows_as
from scheduling.models import ScheduledExecution
from scheduling.recompute import (
    MAX_SECONDS_AT_ONCE,
    ON_WALL_CLOCK,
    PORTION_SIZE,
    SCHEDULE_COLUMNS,
    ZONE_JOINS,
    Schedule,
    recompute_portion,
)
from scheduling.walks import ZoneRules

logger = structlog.get_logger(__name__)

# This is well below ZoneRules.OVERLAP, so a use that is not noted is always close to one that is.
_SECONDS_BETWEEN_LOOKS = 10.0

_next_look_at = 0.0

# This follows the order of the index of due schedules, with and without cron, so a portion reads no more rows than its
# limit.
_PORTION = f"""
SELECT {SCHEDULE_COLUMNS}, {ON_WALL_CLOCK} AS is_concerned
FROM (
    SELECT * FROM scheduling_scheduledexecution
    WHERE is_active AND next_run_at >= %(at)s AND (next_run_at > %(at)s OR id > %(id)s)
    ORDER BY next_run_at, id LIMIT %(limit)s
) s
{ZONE_JOINS}
ORDER BY s.next_run_at, s.id
"""


def note_use() -> None:
    """Notes that next runs were computed by the rules of this process, if newer rules are known.

    Call it after the commit. It looks for newer rules every few seconds at most.
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
    """Walks on for a fraction of a second if there is a walk to make. Returns the number of schedules moved."""
    own, known = settings.TZDATA_VERSION, _known_versions()
    if any(version > own for version in known):
        return 0
    if own not in known:
        # This is committed by itself, so that dispatchers with the same rules need not wait for the first portion.
        ZoneRules.objects.bulk_create([ZoneRules(version=own, first_used_at=clock.now())], ignore_conflicts=True)
    changed = 0
    ends_at = time.monotonic() + MAX_SECONDS_AT_ONCE
    while (portion := _walk_on(own)) is not None:
        changed += portion
        if time.monotonic() >= ends_at:
            break
    return changed


def are_newest() -> bool:
    """Returns whether this process has the newest rules that are known."""
    return all(version <= settings.TZDATA_VERSION for version in _known_versions())


def _known_versions() -> set[str]:
    return set(ZoneRules.objects.values_list("version", flat=True))


@transaction.atomic
def _walk_on(own: str) -> int | None:
    """Recomputes the next portion. Returns the number of schedules moved, or None if there is nothing to do."""
    # One dispatcher at a time works on a walk. It commits its changes together with its progress.
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
    changed = _walk_over_portion(rules)
    if not rules.is_under_way and any(rules.counts().values()):
        logger.info("next_runs_recomputed", zone_rules=own, **rules.counts())
    rules.save(update_fields=rules.PROGRESS)
    return changed


def _walk_over_portion(rules: ZoneRules) -> int:
    parameters = {"at": rules.reached_at, "id": rules.reached_id, "limit": PORTION_SIZE}
    portion = rows_as(Schedule, _PORTION, parameters)
    changed = recompute_portion(portion, rules)
    if len(portion) < PORTION_SIZE:
        rules.finished_at = clock.now()
    else:
        rules.reached_at, rules.reached_id = portion[-1].next_run_at, portion[-1].id
    return changed
