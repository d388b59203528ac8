"""Removes old rows that outlived their day's partition, and surplus rows of one source, in small portions.

It leaves locked rows. Keys are in the order of creation, so finding old rows needs no index of its own. A sweep
remembers how far it has come, so that it does not read the same rows again each time.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple
from uuid import UUID

from django.db import connection

from commands_platform.lib import clock
from commands_platform.lib.database.identifiers import first_ledger_id_at
from commands_platform.lib.database.statements import rows_as

_AGED = """
WITH seen AS (
    SELECT id, state, finished_at FROM deliveries_finished_other
    WHERE id > %(after)s AND id < %(before)s
    ORDER BY id LIMIT %(limit)s
), old AS (
    SELECT d.id FROM deliveries_finished_other d JOIN seen ON d.id = seen.id
    WHERE seen.finished_at < CASE WHEN seen.state = 'failed' THEN %(failed_before)s ELSE %(finished_before)s END
    FOR UPDATE OF d SKIP LOCKED
), removed AS (
    DELETE FROM deliveries_finished_other d USING old WHERE d.id = old.id RETURNING d.id
)
SELECT (SELECT count(*) FROM removed) AS removed, (SELECT count(*) FROM seen) AS seen,
       (SELECT id FROM seen ORDER BY id DESC LIMIT 1) AS last
"""

_SURPLUS = """
WITH surplus AS (
    SELECT id, due_at FROM deliveries_finished
    WHERE source_uuid = %(source)s AND state <> 'failed' AND due_at < (
        SELECT due_at FROM deliveries_delivery
        WHERE source_uuid = %(source)s ORDER BY due_at DESC OFFSET %(keep)s LIMIT 1
    )
    ORDER BY due_at LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
)
DELETE FROM deliveries_finished d USING surplus WHERE d.id = surplus.id AND d.due_at = surplus.due_at
"""

_FIRST_ID = UUID(int=0)
_REST_SECONDS = 600.0


class _Swept(NamedTuple):
    removed: int
    seen: int
    last: UUID | None


@dataclass(slots=True)
class Sweep:
    """A walk over the default partition, a portion at a time. Some time after it has ended, it starts over."""

    keep_finished: timedelta
    keep_failed: timedelta
    _after: UUID = _FIRST_ID
    _rests_until: float = 0.0

    def remove_aged(self, *, limit: int) -> int:
        """Looks at up to `limit` rows and removes those that finished long enough ago. Returns how many it removed."""
        if time.monotonic() < self._rests_until:
            return 0
        now = clock.now()
        parameters = {
            "after": self._after,
            "before": first_ledger_id_at(now - min(self.keep_finished, self.keep_failed)),
            "limit": limit,
            "finished_before": now - self.keep_finished,
            "failed_before": now - self.keep_failed,
        }
        (swept,) = rows_as(_Swept, _AGED, parameters)
        if swept.last is None or swept.seen < limit:
            self._after, self._rests_until = _FIRST_ID, time.monotonic() + _REST_SECONDS
        else:
            self._after = swept.last
        return swept.removed


def remove_surplus(*, source_uuid: UUID, keep: int, limit: int) -> int:
    """Removes up to `limit` of a source's oldest finished rows, except its newest `keep` rows and its failures.

    Returns the number of rows removed.
    """
    with connection.cursor() as cursor:
        cursor.execute(_SURPLUS, {"source": source_uuid, "keep": keep, "limit": limit})
        return int(cursor.rowcount)
