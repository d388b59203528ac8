"""Knowing that another connection waits: what a test of a race is made of."""

from __future__ import annotations

import time

from django.db import connection


def wait_for_waiters(count: int = 1) -> None:
    """Returns once as many connections to this database wait for a lock; AssertionError when they do not."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with connection.cursor() as cursor:
            # Inside a transaction the list of connections stays as it was first seen.
            cursor.execute("SELECT pg_stat_clear_snapshot()")
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            if cursor.fetchone()[0] >= count:
                return
        time.sleep(0.01)
    raise AssertionError(f"Fewer than {count} connections came to wait.")
