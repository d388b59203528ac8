"""The current time. It is the database's, so that processes on several machines agree on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from django.db import connection

# The same in a statement that has a parameter `now`, the result of `replaced`. It costs no query of its own, and stays
# the same for the whole statement.
NOW_SQL = "COALESCE(%(now)s::timestamptz, statement_timestamp())"

_source: Callable[[], datetime] | None = None


def now() -> datetime:
    """Returns the wall clock time of the database server, in UTC. It advances inside a transaction too."""
    if _source is not None:
        return _source()
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        (instant,) = cursor.fetchone()
    return instant.astimezone(UTC)  # type: ignore[no-any-return]


def replaced() -> datetime | None:
    """Returns the time of the replacement clock, or None if a statement may use the database's own time."""
    return None if _source is None else _source()


@contextmanager
def replaced_by(source: Callable[[], datetime]) -> Iterator[None]:
    """Replaces the clock of this process, to simulate clock steps and long waits."""
    global _source  # noqa: PLW0603
    previous, _source = _source, source
    try:
        yield
    finally:
        _source = previous
