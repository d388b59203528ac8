"""Knowing that another connection waits, or has been ended: what a test of a race is made of."""

from __future__ import annotations

import time

from django.db import connection, transaction


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


def pause_for_too_long() -> None:
    """Raises what a process meets that was frozen in mid-transaction until PostgreSQL ended its connection."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL idle_in_transaction_session_timeout = '50ms'")
        cursor.execute("SELECT pg_backend_pid()")
        _wait_for_end_of(cursor.fetchone()[0])
        cursor.execute("SELECT 1")


def _wait_for_end_of(pid: int) -> None:
    """Returns once PostgreSQL has ended that connection."""
    other = connection.copy()
    try:
        deadline = time.monotonic() + 10
        with other.cursor() as cursor:
            while time.monotonic() < deadline:
                cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE pid = %s", [pid])
                if not cursor.fetchone()[0]:
                    return
    finally:
        other.close()
    raise AssertionError("The connection did not end.")
