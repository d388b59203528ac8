"""Django's backend for PostgreSQL, with another check of the connections that its pool hands out."""

from __future__ import annotations

import select
from typing import Any

from django.db.backends.postgresql import base


class DatabaseWrapper(base.DatabaseWrapper):
    """Passes over connections that the server has closed meanwhile, as it does when it restarts.

    The pool's own check asks the server, which would be one statement more for each request.
    """

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        connection = super().get_new_connection(conn_params)
        while self.pool and not _is_quiet(connection):
            connection.close()
            # The pool makes another in the place of one that comes back closed.
            self.pool.putconn(connection)
            connection = super().get_new_connection(conn_params)
        return connection


def _is_quiet(connection: Any) -> bool:
    """Whether nothing has come from the server since its last answer, neither the end nor last words before it."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return not poll.poll(0)
