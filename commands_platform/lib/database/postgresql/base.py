"""Django's backend for PostgreSQL, with a cheaper check of the connections that are used again."""

from __future__ import annotations

import select
from typing import Any

from django.db.backends.postgresql import base


class DatabaseWrapper(base.DatabaseWrapper):
    """Discards connections that the server has closed, for example when it restarted.

    The check of the pool, or of Django without a pool, would send one more statement for each request.
    """

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        connection = super().get_new_connection(conn_params)
        while self.pool and not _is_quiet(connection):
            connection.close()
            # The pool replaces a connection that is returned closed.
            self.pool.putconn(connection)
            connection = super().get_new_connection(conn_params)
        return connection

    def close_if_unusable_or_obsolete(self) -> None:
        """Django calls this between requests. It keeps a connection without a pool that is still good."""
        is_kept = self.connection is not None and not self.pool and not self.in_atomic_block
        if is_kept and not _is_quiet(self.connection):
            self.close()
        super().close_if_unusable_or_obsolete()


def _is_quiet(connection: Any) -> bool:
    """Returns whether the server has sent nothing since its last answer. Before it closes, it sends a message."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return not poll.poll(0)
