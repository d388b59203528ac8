"""Moves schedules to the new time zone of their organization or user, a portion at a time, outside any request.

Saving somebody's zone only writes a ZoneMove. Dispatchers take the oldest move that has work to do, and walk over the
schedules that follow it. A schedule that becomes due before the walk reaches it still runs at its stored time, and the
dispatcher computes the following run in the new zone.

If somebody moves again before the walk is over, what is left of it only finds the slots that passed in the zone between
the two moves. They are not lost. The walk of the next move does the rest.

The walk is repeated after ZoneMove.OVERLAP, because requests in flight may have stored next runs in the old zone.
"""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import structlog
from django.db import transaction
from django.db.models import Exists, OuterRef, Q

from commands_platform.lib import clock
from commands_platform.lib.database.statements import rows_as
from organizations.models import Organization, User
from scheduling import zone_rules
from scheduling.recompute import (
    MAX_SECONDS_AT_ONCE,
    ON_WALL_CLOCK,
    PORTION_SIZE,
    SCHEDULE_COLUMNS,
    ZONE_JOINS,
    Schedule,
    move_to_slots_between,
    recompute_portion,
)
from scheduling.walks import ZoneMove

logger = structlog.get_logger(__name__)

# Schedules that were locked or due are tried again after this time.
_LOOK_AGAIN_AFTER = timedelta(seconds=2)

# This uses the index of an organization's list, or that of the schedules in a user's zone. A portion reads no more rows
# than its limit, whichever zones the schedules are in.
_FOLLOWERS = f"""
SELECT {SCHEDULE_COLUMNS}, {ON_WALL_CLOCK} AND s.next_run_at IS NOT NULL AND {{follows}} AS is_concerned
FROM (
    SELECT * FROM scheduling_scheduledexecution WHERE {{whose}} AND id > %(id)s ORDER BY id LIMIT %(limit)s
) s
{ZONE_JOINS}
ORDER BY s.id
"""
_OF_ORGANIZATION = _FOLLOWERS.format(
    whose="organization_id = %(mover)s",
    follows="(s.timezone_type = 'organization_timezone'"
    " OR (s.timezone_type = 'user_timezone' AND COALESCE(u.timezone, '') = ''))",
)
_OF_USER = _FOLLOWERS.format(whose="owner_id = %(mover)s AND timezone_type = 'user_timezone'", follows="true")

# Moves of the same organization or user are walked in their order.
_UNFINISHED_EARLIER_MOVE = ZoneMove.objects.filter(
    Q(organization=OuterRef("organization")) | Q(user=OuterRef("user")), pk__lt=OuterRef("pk"), finished_at=None
)


def note_move(mover: Organization | User) -> None:
    """Notes that somebody's zone is being changed. It must be called before the change itself is committed."""
    now = clock.now()
    who: dict[str, Any] = {"user": mover} if isinstance(mover, User) else {"organization": mover}
    zone = mover.timezone or mover.organization.timezone if isinstance(mover, User) else mover.timezone
    ZoneMove.objects.create(**who, zone=zone, moved_at=now, look_at=now)


def follow() -> int:
    """Walks on for a fraction of a second if there is a walk to make. Returns the number of schedules moved."""
    changed = 0
    ends_at = time.monotonic() + MAX_SECONDS_AT_ONCE
    while (portion := _walk_on()) is not None:
        changed += portion
        if time.monotonic() >= ends_at:
            break
    return changed


@transaction.atomic
def _walk_on() -> int | None:
    """Recomputes the next portion of the oldest walk. Returns the number of schedules moved, or None without a walk."""
    now = clock.now()
    # One dispatcher at a time works on a move. It commits its changes together with its progress.
    waiting = ZoneMove.objects.select_for_update(skip_locked=True, of=("self",)).filter(look_at__lte=now)
    move = waiting.exclude(Exists(_UNFINISHED_EARLIER_MOVE)).order_by("look_at", "id").first()
    if move is None:
        return None
    next_move = move.next_move()
    if next_move is not None and move.finished_at is not None:
        # The walk of the next move goes over the same schedules.
        move.delete()
        return 0
    if not move.is_under_way:
        move.begin(now)
    changed = _walk_over_portion(move, next_move)
    if move.is_under_way:
        move.save(update_fields=move.PROGRESS)
    elif next_move is not None:
        move.delete()
    else:
        _end_walk(move)
    transaction.on_commit(zone_rules.note_use, robust=True)
    return changed


def _walk_over_portion(move: ZoneMove, next_move: ZoneMove | None) -> int:
    statement, mover = (_OF_ORGANIZATION, move.organization_id) if move.user_id is None else (_OF_USER, move.user_id)
    portion = rows_as(Schedule, statement, {"mover": mover, "id": move.reached_id, "limit": PORTION_SIZE})
    if next_move is None:
        changed = recompute_portion(portion, move, changed_at=move.moved_at)
    else:
        changed = move_to_slots_between(portion, zone=move.zone, begins_at=move.moved_at, ends_at=next_move.moved_at)
    if len(portion) < PORTION_SIZE:
        move.finished_at = clock.now()
    else:
        move.reached_id = portion[-1].id
    return changed


def _end_walk(move: ZoneMove) -> None:
    """Deletes the move if this walk was the last one, or else sets the time of the next walk."""
    if any(move.counts().values()):
        logger.info("next_runs_recomputed", organization_id=move.organization_id, user_id=move.user_id, **move.counts())
    if move.is_done:
        move.delete()
        return
    move.look_at = clock.now() + _LOOK_AGAIN_AFTER if move.held else move.moved_at + ZoneMove.OVERLAP
    move.save(update_fields=[*move.PROGRESS, "look_at"])
