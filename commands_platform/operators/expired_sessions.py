"""Removes the rows of sessions that have ended. Django deletes a session only when its operator logs out."""

from __future__ import annotations

from django.db import connection

MAX_SESSIONS_AT_ONCE = 1_000

# This is SQL because the dispatcher, which runs it, does not install django.contrib.sessions and so has no model.
_REMOVE_SESSIONS = """
WITH expired AS (
    SELECT session_key FROM django_session
    WHERE expire_date <= now()
    ORDER BY expire_date LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
)
DELETE FROM django_session USING expired WHERE django_session.session_key = expired.session_key
"""


def remove_expired_sessions(*, limit: int = MAX_SESSIONS_AT_ONCE) -> int:
    """Removes up to `limit` expired sessions, the longest expired first. Returns the number of sessions removed.

    Sessions that another process has locked are left for the next call.
    """
    with connection.cursor() as cursor:
        cursor.execute(_REMOVE_SESSIONS, {"limit": limit})
        removed: int = cursor.rowcount
    return removed
