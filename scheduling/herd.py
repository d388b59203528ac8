"""Chooses which of very many due schedules are dispatched next, so that no organization waits for another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import zip_longest

from commands_platform.lib.database.statements import rows_of
from scheduling.due import CALLED_URL

# The schedules due longest, some that have just become due, and some of each organization that has any due at one of
# the oldest instants. Two URLs with the same authority (host and port) belong to the same receiver.
_HERD = f"""
WITH RECURSIVE first AS (
    SELECT next_run_at, organization_id FROM scheduling_scheduledexecution
    WHERE is_active AND next_run_at <= %(now)s ORDER BY next_run_at, organization_id LIMIT 1
), groups AS (
    SELECT next_run_at, organization_id, 1 AS number FROM first
    UNION ALL
    SELECT next.next_run_at, next.organization_id, groups.number + 1
    FROM groups, LATERAL (
        SELECT next_run_at, organization_id FROM scheduling_scheduledexecution
        WHERE is_active AND next_run_at <= %(now)s
          AND (next_run_at, organization_id) > (groups.next_run_at, groups.organization_id)
        ORDER BY next_run_at, organization_id LIMIT 1
    ) next
    WHERE groups.number < %(groups)s
), due AS (
    (SELECT id FROM scheduling_scheduledexecution WHERE is_active AND next_run_at <= %(now)s
     AND id <> ALL(%(postponed)b::bigint[]) ORDER BY next_run_at LIMIT %(oldest)s)
    UNION
    (SELECT id FROM scheduling_scheduledexecution WHERE is_active AND next_run_at <= %(now)s
     AND id <> ALL(%(postponed)b::bigint[]) ORDER BY next_run_at DESC LIMIT %(newest)s)
    UNION
    (SELECT of_one.id FROM groups, LATERAL (
        SELECT id FROM scheduling_scheduledexecution
        WHERE is_active AND id <> ALL(%(postponed)b::bigint[])
          AND (next_run_at, organization_id) >= (groups.next_run_at, groups.organization_id)
          AND (next_run_at, organization_id) <= (groups.next_run_at, groups.organization_id)
        ORDER BY next_run_at, organization_id LIMIT %(of_each)s
    ) of_one)
)
SELECT s.id, s.organization_id, split_part({CALLED_URL}, '/', 3)
FROM due
JOIN scheduling_scheduledexecution s ON s.id = due.id
JOIN organizations_command c ON c.id = s.command_id
ORDER BY s.next_run_at
"""
# At most this many instants of organizations are looked at, and this many schedules of each.
_MAX_GROUPS, _OF_EACH_GROUP = 100, 20


def due_in_turns(*, now: datetime, oldest: int, newest: int, postponed: Sequence[int] = ()) -> list[int]:
    """Returns the ids of the schedules due longest and of some just due.

    Organizations take turns, and so do the receivers of each.
    """
    parameters = {
        "now": now,
        "oldest": oldest,
        "newest": newest,
        "postponed": list(postponed),
        "groups": _MAX_GROUPS,
        "of_each": _OF_EACH_GROUP,
    }
    queues: dict[int, dict[str, list[int]]] = {}
    for pk, organization_id, receiver in rows_of(_HERD, parameters):
        queues.setdefault(organization_id, {}).setdefault(receiver, []).append(pk)
    return list(_in_turns(_in_turns(receivers.values()) for receivers in queues.values()))


def _in_turns(queues: Iterable[Iterable[int]]) -> Iterator[int]:
    """Yields one id of each queue in turn."""
    return (pk for turn in zip_longest(*queues) for pk in turn if pk is not None)
