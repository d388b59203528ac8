"""Pooled connections are reused, unless the server has closed them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper


@pytest.fixture
def pooled(db: None) -> Iterator[BaseDatabaseWrapper]:
    """Yields a connection with a pool, like those of the processes. The tests themselves use none."""
    wrapper = connection.copy(alias="pooled")
    wrapper.settings_dict["OPTIONS"]["pool"] = {"min_size": 1, "max_size": 1, "timeout": 5}
    yield wrapper
    wrapper.close()
    wrapper.close_pool()  # type: ignore[attr-defined]


def backend_of_a_request(pooled: BaseDatabaseWrapper) -> int:
    """Returns the id of the PostgreSQL process that answers, and gives the connection back to the pool."""
    with pooled.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
    pooled.close()
    return int(pid)


def test_a_connection_serves_one_request_after_another(pooled: BaseDatabaseWrapper) -> None:
    assert backend_of_a_request(pooled) == backend_of_a_request(pooled)


def test_a_request_never_gets_a_connection_that_the_server_has_closed(pooled: BaseDatabaseWrapper) -> None:
    before = backend_of_a_request(pooled)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [before])
        assert cursor.fetchone() == (True,)

    assert backend_of_a_request(pooled) != before
