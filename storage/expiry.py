"""The sweep: takes away the rows of expired items, which count as absent already."""

from __future__ import annotations

from django.db import connection

BATCH = 1_000

# A row that somebody holds is being written anew; a row that was written anew no longer matches once it is locked.
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
    """Removes up to `limit` expired items, the longest expired first, in transactions of BATCH. Returns their number.

    Any number may run at once.
    """
    removed = 0
    while removed < limit:
        batch = min(BATCH, limit - removed)
        with connection.cursor() as cursor:
            cursor.execute(_REMOVE, {"limit": batch})
            count = cursor.rowcount
        removed += count
        if count < batch:
            break
    return removed
