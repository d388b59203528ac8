"""Recognizes the errors of an unavailable database and of locked rows, and retries."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import structlog
from django.db import Error, InterfaceError, OperationalError, close_old_connections

from commands_platform.lib.errors import BusyError

logger = structlog.get_logger(__name__)

T = TypeVar("T")

_RECONNECT_SECONDS = 0.5

# PostgreSQL's code for a connection that it closed because a transaction was idle for too long. Django does not map
# this code to OperationalError.
_PAUSED_FOR_TOO_LONG = "25P03"
# The code for a row that another session moved to another partition, after the statement began and before it locked it.
_MOVED = "40001"
_MAX_TRIES_FOR_MOVED = 10
# The codes for a lock that was not available within `lock_timeout`, for a deadlock, and for a moved row.
_LOCKED = frozenset({"55P03", "40P01", _MOVED})


def is_away(error: BaseException) -> bool:
    """Returns whether the database is unreachable, closed the connection, or is too slow, so that a retry may help."""
    if isinstance(error, OperationalError | InterfaceError):
        return True
    return getattr(error.__cause__, "sqlstate", None) == _PAUSED_FOR_TOO_LONG


def is_locked(error: BaseException | None) -> bool:
    """Returns whether a lock was not available in time, or the statement was part of a deadlock."""
    return isinstance(error, OperationalError) and getattr(error.__cause__, "sqlstate", None) in _LOCKED


def retry_if_moved(work: Callable[[], T]) -> T:
    """Does `work`, and does it again if it met a row that was moving to another partition.

    PostgreSQL reports such a row as an error, even to a statement that skips locked rows. Inside a transaction, `work`
    must open a transaction of its own, which becomes a savepoint.
    """
    for _ in range(_MAX_TRIES_FOR_MOVED - 1):
        try:
            return work()
        except OperationalError as error:
            if getattr(error.__cause__, "sqlstate", None) != _MOVED:
                raise
    return work()


@contextmanager
def busy_if_locked() -> Iterator[None]:
    """Raises BusyError if a row stays locked for longer than this process waits for a lock."""
    try:
        yield
    except OperationalError as error:
        if is_locked(error):
            raise BusyError from error
        raise


def log_away(error: BaseException, **where: str) -> None:
    """Logs one line with the reason. Tracebacks would add nothing during an outage."""
    name = type(error.__cause__ or error).__name__
    logger.error("database_was_unavailable", error=name, reason=str(error).partition("\n")[0], **where)


def retry_while_away(work: Callable[[], T], *, patience: float) -> T:
    """Does `work`. If the database is unavailable, retries at least once, and for up to `patience` seconds."""
    give_up_at = time.monotonic() + patience
    tries = 0
    while True:
        try:
            return work()
        except Error as error:
            if not is_away(error):
                raise
            # Django keeps using a connection that the server has closed until it is told to check it.
            close_old_connections()
            tries += 1
            if tries > 1 and time.monotonic() >= give_up_at:
                raise
            if tries > 1:
                time.sleep(_RECONNECT_SECONDS)


def unless_away(work: Callable[[], T], *, otherwise: T) -> T:
    """Does `work`. If the database is unavailable, logs that and returns `otherwise`."""
    try:
        return retry_while_away(work, patience=0)
    except Error as error:
        if not is_away(error):
            raise
        log_away(error)
        return otherwise
