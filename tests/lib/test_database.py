"""An unavailable database is distinguished from a bug, even if PostgreSQL itself ended the connection."""

from __future__ import annotations

import psycopg
import pytest
from django.db import Error, IntegrityError, InternalError, connection

from commands_platform.lib.database.availability import is_away
from tests.locks import pause_for_too_long


@pytest.mark.django_db(transaction=True)
def test_a_transaction_that_paused_too_long_counts_as_unavailable_and_the_next_one_works() -> None:
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
def test_only_some_errors_count_as_unavailable(error: type[Error], cause: type[psycopg.Error], expected: bool) -> None:
    raised = error("no")
    raised.__cause__ = cause("no")

    assert is_away(raised) is expected
