"""Makes and drops the partitions of the ledger, one for each day (UTC) on which slots were due.

A row whose day has no partition goes to the default partition, so a missing one is never an error for a caller.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta

import structlog
from django.conf import settings
from django.db import OperationalError, connection, transaction
from django.db.backends.utils import CursorWrapper

from commands_platform.lib import clock
from commands_platform.lib.database.availability import is_locked
from commands_platform.lib.database.statements import rows_of

logger = structlog.get_logger(__name__)

DAYS_AHEAD = 7
_PREFIX = "deliveries_finished_"
_PARTITIONS_LOCK = 0x6C656467

_PARTITIONS = """
SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = 'deliveries_finished'::regclass AND c.relname <> 'deliveries_finished_other'
"""

# The default partition may have rows of the day, if nobody made its partition in time.
_MAKE = """
CREATE TABLE {table} (LIKE deliveries_finished INCLUDING DEFAULTS INCLUDING CONSTRAINTS);
WITH moved AS (
    DELETE FROM deliveries_finished_other WHERE due_at >= '{begin}' AND due_at < '{end}' RETURNING *
)
INSERT INTO {table} SELECT * FROM moved;
ALTER TABLE deliveries_finished ATTACH PARTITION {table} FOR VALUES FROM ('{begin}') TO ('{end}');
"""

# Failures stay longer, and so do rows that finished late. Each half has an index.
_KEPT = """
SELECT * FROM {table} WHERE state = 'failed' AND finished_at >= '{failed_before}'
UNION ALL
SELECT * FROM {table} WHERE state <> 'failed' AND finished_at >= '{finished_before}'
"""

# Copying locks only the old day, and only against changes. The whole ledger is locked for the last steps, which take
# milliseconds.
_SHRINK = """
CREATE TABLE {new} (LIKE deliveries_finished INCLUDING DEFAULTS INCLUDING CONSTRAINTS);
INSERT INTO {new} {kept};
ALTER TABLE deliveries_finished DETACH PARTITION {old};
DROP TABLE {old};
ALTER TABLE {new} RENAME TO {rest};
ALTER TABLE deliveries_finished ATTACH PARTITION {rest} FOR VALUES FROM ('{begin}') TO ('{end}');
"""


@dataclass(frozen=True, slots=True)
class _Partition:
    """The partition of one day. After `LEDGER_KEEP_FINISHED` it has only the rows that stay longer."""

    day: date
    is_rest: bool = False

    @classmethod
    def named(cls, name: str) -> _Partition:
        day, _, rest = name.removeprefix(_PREFIX).partition("_")
        return cls(datetime.strptime(day, "%Y%m%d").replace(tzinfo=UTC).date(), bool(rest))

    @property
    def table(self) -> str:
        return f"{_PREFIX}{self.day:%Y%m%d}{'_rest' if self.is_rest else ''}"

    @property
    def begin(self) -> datetime:
        return datetime.combine(self.day, time(), UTC)

    @property
    def end(self) -> datetime:
        return self.begin + timedelta(days=1)


def make_ahead() -> int:
    """Makes the partitions of today and the next days that are missing. Returns how many it made."""
    today = clock.now().astimezone(UTC).date()
    return make_missing(today + timedelta(days=number) for number in range(DAYS_AHEAD + 1))


def make_missing(days: Iterable[date]) -> int:
    """Makes the partitions of those days that have none. Returns how many it made."""
    made = {partition.day for partition in _partitions()}
    return sum(_make(_Partition(day)) for day in days if day not in made)


def drop_expired() -> int:
    """Drops the partitions of days that need no longer be kept. Returns how many it dropped.

    Rows of such a day that stay longer keep a partition.
    """
    now = clock.now()
    finished_before, failed_before = now - settings.LEDGER_KEEP_FINISHED, now - settings.LEDGER_KEEP_FAILED
    expired = [
        partition for partition in _partitions()
        if partition.end <= (failed_before if partition.is_rest else finished_before)
    ]  # fmt: skip
    return sum(_drop(partition, finished_before=finished_before, failed_before=failed_before) for partition in expired)


def keep_partitions() -> int:
    """Makes partitions ahead and drops expired ones. Returns how many it made and dropped."""
    return make_ahead() + drop_expired()


def _partitions() -> list[_Partition]:
    return sorted((_Partition.named(name) for (name,) in rows_of(_PARTITIONS, {})), key=lambda each: each.day)


def _make(partition: _Partition) -> bool:
    with _changing(partition) as cursor:
        if cursor is None or partition.day in {each.day for each in _partitions()}:
            return False
        _run(cursor, _MAKE, table=partition.table, begin=partition.begin, end=partition.end)
        return True
    return False


def _drop(partition: _Partition, *, finished_before: datetime, failed_before: datetime) -> bool:
    with _changing(partition) as cursor:
        if cursor is None or partition not in _partitions():
            return False
        _run(cursor, "LOCK TABLE {table} IN SHARE MODE", table=partition.table)
        kept = _KEPT.format(table=partition.table, failed_before=failed_before, finished_before=finished_before)
        cursor.execute(f"SELECT EXISTS ({kept})")
        if not cursor.fetchone()[0]:
            _run(cursor, "DROP TABLE {table}", table=partition.table)
        elif partition.is_rest and not _has_expired(cursor, partition, kept):
            return False
        else:
            rest = replace(partition, is_rest=True).table
            names = {"old": partition.table, "new": f"{rest}_new", "rest": rest}
            _run(cursor, _SHRINK, **names, kept=kept, begin=partition.begin, end=partition.end)
        logger.info("ledger_partition_was_dropped", day=partition.day.isoformat())
        return True
    return False


def _has_expired(cursor: CursorWrapper, partition: _Partition, kept: str) -> bool:
    cursor.execute(f"SELECT (SELECT count(*) FROM {partition.table}) > (SELECT count(*) FROM ({kept}) kept)")  # noqa: S608
    return bool(cursor.fetchone()[0])


@contextmanager
def _changing(partition: _Partition) -> Iterator[CursorWrapper | None]:
    """Opens a transaction for a change of the partitions. Gives its cursor, or None if another process changes them.

    The change needs the ledger for itself for a moment. If it does not get it at once, it is left to a later call,
    because everything that came after it would have to wait as well.
    """
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            # Workers look for single rows. The index of late rows (BRIN) needs bitmap scans.
            cursor.execute("SET LOCAL enable_bitmapscan TO on")
            cursor.execute("SET LOCAL lock_timeout TO '200ms'")
            cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [_PARTITIONS_LOCK])
            yield cursor if cursor.fetchone()[0] else None
    except OperationalError as error:
        if not is_locked(error):
            raise
        logger.info("ledger_partition_was_in_use", day=partition.day.isoformat())


def _run(cursor: CursorWrapper, statements: str, **values: object) -> None:
    for statement in filter(str.strip, statements.format(**values).split(";")):
        cursor.execute(statement)
