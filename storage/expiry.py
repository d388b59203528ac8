"""Removes the rows of expired items. Readers already treat these items as absent."""

from __future__ import annotations

from django.db import connection

MAX_BATCH = 1_000

# A locked row is being overwritten, so it is skipped. A row that was overwritten no longer matches once it is locked.
_REMOVE = """
WITH expired AS (
    SELECT id FROM storage_item
    WHERE expires_at <= now()
    ORDER BY expires_at LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
)
DELETE FROM storage_item USING expired WHERE storage_item.id = expired.id
"""


def remove_expired(*, limit: int = 50_000) -> int:
    """Removes up to `limit` expired items, oldest first, in transactions of MAX_BATCH rows. Returns their number.

    Several processes may run it at once.
    """
    removed = 0
    while removed < limit:
        batch = min(MAX_BATCH, limit - removed)
        with connection.cursor() as cursor:
            cursor.execute(_REMOVE, {"limit": batch})
            count = cursor.rowcount
        removed += count
        if count < batch:
            break
    return removed
