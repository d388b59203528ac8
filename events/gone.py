"""Removes hooks whose receiver answered 410 Gone."""

from __future__ import annotations

from datetime import datetime
from functools import cache
from typing import NamedTuple

import structlog
from django.db import transaction

from audit.kinds import Verb
from audit.services import record
from commands_platform.lib.database.statements import rows_as
from deliveries import gone
from deliveries.gone import GoneWalk
from deliveries.models import Delivery
from deliveries.services import cancel_pending_of_hook
from events.announcements import announce_removed_hook
from events.listeners import URL_SQL
from events.models import Hook, OutboxEvent

logger = structlog.get_logger(__name__)

# A hook stays if its lists were replaced after the answer, or if it has another URL now.
_GONE_HOOKS = f"""
SELECT DISTINCT h.id, h.updated_at
FROM deliveries_finished d
JOIN events_hook h ON h.organization_id = d.organization_id
  AND h.id = CASE WHEN d.destination ~ '^hook:[0-9]{{1,18}}$' THEN substr(d.destination, 6)::bigint END
JOIN organizations_command c ON c.id = h.command_id
WHERE d.reason = 'gone' AND d.kind = 'event' AND d.finished_at > %(since)s AND d.finished_at >= h.updated_at
  AND d.url = {URL_SQL} AND h.id > %(after)s
ORDER BY h.id LIMIT %(limit)s
"""  # noqa: S608


class _GoneHook(NamedTuple):
    id: int
    updated_at: datetime


def remove_gone_hooks(*, since: datetime) -> int:
    """Removes the hooks whose receiver has answered 410 since then, and announces each. Returns the number removed."""

    def find(after: int) -> list[_GoneHook]:
        return rows_as(_GoneHook, _GONE_HOOKS, {"since": since, "after": after, "limit": gone.MAX_GONE_AT_ONCE})

    return _process_walk().walk_on(find=find, end=_remove)


@transaction.atomic
def _remove(found: _GoneHook) -> bool:
    rows = Hook.objects.filter(pk=found.id, updated_at=found.updated_at)
    hook = rows.select_for_update(of=("self",), skip_locked=True).select_related("command", "user").first()
    if hook is None:
        return False
    unsent = Delivery.objects.pending().filter(destination=hook.destination, organization_id=hook.organization_id)
    # If somebody has locked one of them, cancelling it would have to wait. The same is true of an event that is being
    # fanned out. A later run finds the hook again.
    if not OutboxEvent.objects.hold_back(hook, waits=False) or not unsent.lock_all():
        return False
    destination, number = hook.destination, hook.pk
    record(Verb.DELETED, hook)
    hook.delete()
    cancel_pending_of_hook(destination=destination, organization_id=hook.organization_id)
    announce_removed_hook(hook, number=number)
    logger.warning("hook_removed", hook=number, reason="gone")
    return True


@cache
def _process_walk() -> GoneWalk:
    return GoneWalk()
