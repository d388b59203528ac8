"""A database that is away is told from a bug, also where PostgreSQL itself has ended the connection."""

from __future__ import annotations

import psycopg
import pytest
from django.db import Error, IntegrityError, InternalError, connection

from commands_platform.lib.database.availability import is_away
from tests.locks import pause_for_too_long


@pytest.mark.django_db(transaction=True)
def test_after_a_transaction_that_paused_for_too_long_the_database_was_away_and_is_found_again() -> None:
    with pytest.raises(Error) as caught:
        pause_for_too_long()

    assert is_away(caught.value)
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        assert cursor.fetchone() == (1,)


@pytest.mark.parametrize(
    ("error", "cause", "expected"),
    [
        (InternalError, psycopg.errors.IdleInTransactionSessionTimeout, True),
        (InternalError, psycopg.errors.IndexCorrupted, False),
        (IntegrityError, psycopg.errors.UniqueViolation, False),
    ],
)
def test_an_internal_error_is_none_that_waiting_mends(
    error: type[Error], cause: type[psycopg.Error], expected: bool
) -> None:
    raised = error("no")
    raised.__cause__ = cause("no")

    assert is_away(raised) is expected
