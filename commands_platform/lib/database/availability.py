"""Tells errors of an unreachable database from other errors, and tries again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import structlog
from django.db import Error, InterfaceError, OperationalError, close_old_connections

logger = structlog.get_logger(__name__)

T = TypeVar("T")

_RECONNECT_SECONDS = 0.5

# PostgreSQL's code for a connection that it ended because a transaction had paused for too long. Its first two digits
# file it under internal errors, among those that no other try would mend.
_PAUSED_FOR_TOO_LONG = "25P03"


def is_away(error: Error) -> bool:
    """Returns whether to try again later: the database is unreachable, ended the connection, or is too slow."""
    if isinstance(error, OperationalError | InterfaceError):
        return True
    return getattr(error.__cause__, "sqlstate", None) == _PAUSED_FOR_TOO_LONG


def log_away(error: Error, **where: str) -> None:
    """Logs one line with the reason. A traceback for each try during an outage would say no more."""
    name = type(error.__cause__ or error).__name__
    logger.error("database_was_unavailable", error=name, reason=str(error).partition("\n")[0], **where)


def retry_while_away(work: Callable[[], T], *, patience: float) -> T:
    """Does `work`. Over a broken connection it tries again, at least once and for `patience` seconds."""
    give_up_at = time.monotonic() + patience
    tries = 0
    while True:
        try:
            return work()
        except Error as error:
            if not is_away(error):
                raise
            # A connection that a restarted server closed stays broken until Django is told to look at it.
            close_old_connections()
            tries += 1
            if tries > 1 and time.monotonic() >= give_up_at:
                raise
            if tries > 1:
                time.sleep(_RECONNECT_SECONDS)


def unless_away(work: Callable[[], T], *, otherwise: T) -> T:
    """Does `work`, or logs that the database is away and returns `otherwise`."""
    try:
        return retry_while_away(work, patience=0)
    except Error as error:
        if not is_away(error):
            raise
        log_away(error)
        return otherwise
