"""Schedules whose callbacks have failed for too long: found in the ledger when a delivery fails, and deactivated."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction

from commands_platform.lib import clock
from commands_platform.lib.errors import InvalidInputError
from deliveries.signals import deliveries_failed
from scheduling import services

# The steps are in order of their cost, and each is a walk along the index of slots. Most schedules end at the first:
# of one that has failed now and then, the slot of a day ago was delivered. What may be long is the walk over a day's
# rows that are still to be tried again, and only what has failed for a day without a success comes so far.
_FAILING = """
SELECT s.id, s.effective_from, before.due_at
FROM (
    SELECT DISTINCT source_uuid FROM deliveries_delivery WHERE id = ANY(%(ids)s::uuid[]) AND kind = 'scheduled'
) failed
JOIN scheduling_scheduledexecution s ON s.uuid = failed.source_uuid AND s.is_active
JOIN LATERAL (
    SELECT d.due_at, d.state FROM deliveries_delivery d
    WHERE d.source_uuid = s.uuid AND d.kind = 'scheduled' AND d.state IN ('delivered', 'failed')
      AND d.due_at >= s.effective_from AND d.due_at <= %(begun_before)s
    ORDER BY d.due_at DESC LIMIT 1
) before ON before.state = 'failed'
LEFT JOIN LATERAL (
    SELECT d.due_at FROM deliveries_delivery d
    WHERE d.source_uuid = s.uuid AND d.kind = 'scheduled' AND d.state = 'delivered' AND d.due_at > before.due_at
    ORDER BY d.due_at DESC LIMIT 1
) success ON true
WHERE success.due_at IS NULL
"""


def connect() -> None:
    """Watches the deliveries that fail."""
    deliveries_failed.connect(_follow, dispatch_uid="scheduling.failures")


def _follow(ids: Sequence[UUID], **_: Any) -> None:
    # The sender's transaction is short and its rows are locked; a schedule is locked before its rows, never after.
    if settings.SCHEDULE_DEACTIVATE_AFTER_FAILURES:
        transaction.on_commit(partial(deactivate_failing_of, ids=ids), robust=True)


def deactivate_failing_of(*, ids: Sequence[UUID]) -> int:
    """Deactivates those schedules of the failed deliveries that have failed for too long; how many."""
    with connection.cursor() as cursor:
        cursor.execute(_FAILING, {"ids": list(ids), "begun_before": clock.now() - settings.SCHEDULE_DEACTIVATE_AFTER})
        found = cursor.fetchall()
    count = 0
    for pk, effective_from, failing_since in found:
        # One whose slots cannot be computed is for the dispatcher to deactivate.
        with suppress(InvalidInputError):
            count += services.deactivate_failing(pk=pk, effective_from=effective_from, failing_since=failing_since)
    return count
