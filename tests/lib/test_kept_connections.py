"""Connections without a pool serve one request after another, unless the server has closed them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper


@pytest.fixture
def kept(db: None) -> Iterator[BaseDatabaseWrapper]:
    """Yields a connection that is kept between requests, like those of the web's threads."""
    wrapper = connection.copy(alias="kept")
    wrapper.settings_dict["CONN_MAX_AGE"] = None
    yield wrapper
    wrapper.close()


def backend_of_a_request(kept: BaseDatabaseWrapper) -> int:
    """Returns the id of the PostgreSQL process that answers to one request."""
    kept.close_if_unusable_or_obsolete()
    with kept.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
    kept.close_if_unusable_or_obsolete()
    return int(pid)


def test_a_connection_serves_one_request_after_another(kept: BaseDatabaseWrapper) -> None:
    assert backend_of_a_request(kept) == backend_of_a_request(kept)


def test_a_connection_that_the_server_has_closed_is_not_used_again(kept: BaseDatabaseWrapper) -> None:
    before = backend_of_a_request(kept)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [before])
        assert cursor.fetchone() == (True,)

    assert backend_of_a_request(kept) != before
