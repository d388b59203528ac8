"""Helpers for tests of races: holding locks, and waiting until other connections wait or have ended."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection, transaction
from django.db.models import QuerySet


def wait_for_waiters(count: int = 1) -> None:
    """Returns once that many connections to this database wait for a lock. Raises AssertionError after 30 s."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with connection.cursor() as cursor:
            # Within a transaction PostgreSQL keeps showing the connections as they were at the first look.
            cursor.execute("SELECT pg_stat_clear_snapshot()")
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            if cursor.fetchone()[0] >= count:
                return
        time.sleep(0.01)
    raise AssertionError(f"Fewer than {count} connections wait for a lock.")


def pause_for_too_long() -> None:
    """Raises the error of a process that was frozen in a transaction until PostgreSQL ended its connection."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL idle_in_transaction_session_timeout = '50ms'")
        cursor.execute("SELECT pg_backend_pid()")
        _wait_for_end_of(cursor.fetchone()[0])
        cursor.execute("SELECT 1")


def _wait_for_end_of(pid: int) -> None:
    """Returns once PostgreSQL has ended the connection with this process id."""
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


@contextmanager
def held_elsewhere(rows: QuerySet[Any]) -> Iterator[None]:
    """Locks these rows in a transaction of another connection, as somebody might in psql."""
    model, keys = rows.model, list(rows.values_list("pk", flat=True))
    other = connection.copy()
    try:
        other.set_autocommit(False)
        with other.cursor() as cursor:
            cursor.execute(
                f"SELECT FROM {model._meta.db_table} WHERE {model._meta.pk.column} = ANY(%s) FOR UPDATE", [keys]
            )
            assert cursor.rowcount == len(keys) > 0
        yield
    finally:
        other.rollback()
        other.close()


@contextmanager
def without_waiting() -> Iterator[None]:
    """Makes every statement fail that waits for a lock for longer than 500 ms."""
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '500ms'")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("RESET lock_timeout")
