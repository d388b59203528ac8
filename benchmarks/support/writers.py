"""Counts the ledger rows that each process writes, by a trigger that only benchmarks have."""

from __future__ import annotations

from benchmarks.support.platform import MeasuredPlatform

_NOTE_WRITES = """
CREATE TABLE benchmark_writes (writer text, rows bigint);
CREATE FUNCTION benchmark_note_writes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO benchmark_writes SELECT current_setting('application_name'), count(*) FROM written;
    RETURN NULL;
END $$;
CREATE TRIGGER benchmark_note_writes AFTER INSERT ON deliveries_queue
    REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION benchmark_note_writes();
"""


def count_writes(running: MeasuredPlatform) -> None:
    """Makes PostgreSQL count the rows from now on, which costs it a little."""
    running.execute(_NOTE_WRITES)


def forget_writes(running: MeasuredPlatform) -> None:
    running.execute("TRUNCATE benchmark_writes")


def rows_by_writer(running: MeasuredPlatform) -> dict[str, int]:
    """Returns how many rows each process has written."""
    counted = running.query(
        "SELECT writer, sum(rows)::bigint FROM benchmark_writes WHERE rows > 0 GROUP BY 1 ORDER BY 1"
    )
    return dict(counted)
