"""What the database's errors mean to those who can try again."""

from __future__ import annotations

import structlog
from django.db import Error, InterfaceError, OperationalError

logger = structlog.get_logger(__name__)

# PostgreSQL's code for a connection that it ended because a transaction had paused for too long. Its first two digits
# file it under internal errors, among those that no other try would mend.
_PAUSED_FOR_TOO_LONG = "25P03"


def is_away(error: Error) -> bool:
    """Whether the database cannot be reached, has ended the connection, or makes wait for too long: try again later."""
    if isinstance(error, OperationalError | InterfaceError):
        return True
    return getattr(error.__cause__, "sqlstate", None) == _PAUSED_FOR_TOO_LONG


def log_away(error: Error, **where: str) -> None:
    """One line that says which server and why; a traceback for every try of an outage would say no more."""
    name = type(error.__cause__ or error).__name__
    logger.error("database_was_unavailable", error=name, reason=str(error).partition("\n")[0], **where)
