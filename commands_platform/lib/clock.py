"""The time that decides is the database's: web and workers on several machines agree on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from django.db import connection

_source: Callable[[], datetime] | None = None


def now() -> datetime:
    """The database server's wall clock, in UTC; it moves inside a transaction too."""
    if _source is not None:
        return _source()
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        (instant,) = cursor.fetchone()
    return instant.astimezone(UTC)  # type: ignore[no-any-return]


def replaced() -> datetime | None:
    """What this process lives by instead of the database's clock; None where a statement may take its own time."""
    return None if _source is None else _source()


@contextmanager
def replaced_by(source: Callable[[], datetime]) -> Iterator[None]:
    """Lets this process live by another clock: the seam for simulations of clock steps and of long waits."""
    global _source  # noqa: PLW0603
    previous, _source = _source, source
    try:
        yield
    finally:
        _source = previous
