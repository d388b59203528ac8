"""Ledger size: measures a burst, a steady load and a tick with an empty ledger, and with very many finished rows."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from psycopg import sql

from benchmarks.burst import deliver, warm_up
from benchmarks.steady import lag_of_steady_load
from benchmarks.support.platform import MeasuredPlatform, Owner, platform
from benchmarks.support.receiver import Receiver
from benchmarks.support.results import emit, milliseconds, progress, table
from benchmarks.support.schedules import settle

_AT_ONCE = 500_000
_ROWS_A_DAY = 864_000
# The columns in which the copies differ. The others are those of a real row.
_OF_EACH_ROW = {
    # Keys over a month in the order of time, as the platform would have made them.
    "id": "uuidv7(-((%(last)s - g) * interval '0.1 s') - interval '1 hour')",
    "source_uuid": "gen_random_uuid()",
    "due_at": "now() - (%(last)s - g) * interval '0.1 s' - interval '1 hour'",
    "created_at": "now() - (%(last)s - g) * interval '0.1 s' - interval '1 hour'",
    "finished_at": "now() - (%(last)s - g) * interval '0.1 s' - interval '1 hour'",
}


def main(arguments: Sequence[str]) -> None:
    options = _parser().parse_args(arguments)
    if options.quick:
        options.rows, options.n, options.rounds = min(options.rows, 20_000), min(options.n, 500), 1
        options.seconds = 3
    with (
        Receiver() as receiver,
        platform(deliverers=options.deliverers, postgres_options={"shared_buffers": options.shared_buffers}) as running,
    ):
        owner = running.make_owner(receiver.url)
        warm_up(running, owner, receiver)
        empty = _measure(running, owner, receiver, options)
        fill_ledger(running, options.rows)
        settle(running)
        sizes, bytes_per_row = _sizes(running), _bytes_per_row(running)
        full = _measure(running, owner, receiver, options)
    emit(
        "ledger_size",
        rows=options.rows,
        n=options.n,
        deliverers=options.deliverers,
        shared_buffers=options.shared_buffers,
        empty=asdict(empty),
        full=asdict(full),
        ratio=round(median(full.rates) / median(empty.rates), 3),
        sizes_mib=sizes,
        bytes_per_row=bytes_per_row,
    )
    table(
        f"With an empty ledger, and with {options.rows:,} finished rows in it",
        [
            ("", "empty", "full"),
            *((f"burst of {options.n:,}, deliveries/s", *each) for each in zip(empty.rates, full.rates, strict=True)),
            ("tick with nothing due, ms", empty.tick_ms, full.tick_ms),
            *((f"lag of {options.rate} a second, {name}", empty.lag[name], full.lag[name]) for name in empty.lag),
        ],
    )
    table("Size of the ledger, MiB", sorted(sizes.items()))
    table("Bytes of a finished row with a payload of 200 bytes", [("with all indexes", bytes_per_row)])


@dataclass(frozen=True)
class _Measured:
    """Bursts in deliveries a second, and lags and a tick in milliseconds."""

    rates: list[int]
    tick_ms: float
    lag: dict[str, float]


def _measure(running: MeasuredPlatform, owner: Owner, receiver: Receiver, options: argparse.Namespace) -> _Measured:
    rates = _rates(running, owner, receiver, options)
    arrivals = lag_of_steady_load(running, owner, receiver, rate=options.rate, seconds=options.seconds)
    return _Measured(
        rates=rates,
        tick_ms=running.run_module("benchmarks.support.tick")["tick_ms_median"],
        lag=milliseconds([arrival.lag for arrival in arrivals]),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks ledger_size", description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000, help="Finished rows. Each takes about 1 KiB of disk.")
    parser.add_argument("--n", type=int, default=10_000, help="Schedules due at one instant.")
    parser.add_argument("--deliverers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rate", type=int, default=200, help="Schedules due in each second of the steady load.")
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument(
        "--shared-buffers",
        default="1GB",
        help="PostgreSQL's setting, fit for a ledger of this size. `make run` has 128MB.",
    )
    parser.add_argument("--quick", action="store_true", help="Do a small run, to check that it works.")
    return parser


def _rates(running: MeasuredPlatform, owner: Owner, receiver: Receiver, options: argparse.Namespace) -> list[int]:
    rates = []
    for _ in range(options.rounds):
        due = deliver(running, owner, receiver, count=options.n, kind="period")
        [(finished,)] = running.query("SELECT max(finished_at) FROM deliveries_delivery WHERE due_at = %s", [due])
        rates.append(round(options.n / (finished - due).total_seconds()))
    return rates


def fill_ledger(running: MeasuredPlatform, rows: int) -> None:
    """Copies a delivered row `rows` times, as if each copy were a slot of another schedule."""
    columns = [
        name
        for (name,) in running.query(
            "SELECT attname FROM pg_attribute WHERE attrelid = 'deliveries_delivery'::regclass AND attnum > 0"
            " AND NOT attisdropped AND attgenerated = '' ORDER BY attnum"
        )
    ]
    statement = sql.SQL(
        "INSERT INTO deliveries_delivery ({columns}) SELECT {values} FROM generate_series(%(first)s, %(last)s - 1) g,"
        " LATERAL (SELECT * FROM deliveries_delivery WHERE state = 'delivered' ORDER BY id DESC LIMIT 1) template"
    ).format(
        columns=sql.SQL(", ").join(map(sql.Identifier, columns)),
        values=sql.SQL(", ").join(_value(column) for column in columns),
    )
    running.run_module("benchmarks.support.past_days", "--days", str(rows // _ROWS_A_DAY + 1))
    with running.connect() as connection:
        for first in range(0, rows, _AT_ONCE):
            progress(f"{first:,} of {rows:,} finished rows")
            connection.execute(statement, {"first": first, "last": min(rows, first + _AT_ONCE)})


def _value(column: str) -> sql.Composable:
    if column in _OF_EACH_ROW:
        return sql.SQL(_OF_EACH_ROW[column])
    return sql.Identifier("template", column)


def _sizes(running: MeasuredPlatform) -> dict[str, Any]:
    """Returns the MiB of the queue, of all partitions of the ledger, and of each of their indexes."""
    return dict(
        running.query(
            "WITH leaf AS (SELECT relid, parentrelid FROM pg_partition_tree('deliveries_delivery') WHERE isleaf),"
            " part AS ("
            "  SELECT relid AS oid, CASE relid WHEN 'deliveries_queue'::regclass THEN 'queue' ELSE 'ledger' END AS name"
            "  FROM leaf"
            "  UNION ALL"
            "  SELECT i.indexrelid, COALESCE(up.inhparent, i.indexrelid)::regclass::text"
            "  FROM leaf JOIN pg_index i ON i.indrelid = leaf.relid"
            "  LEFT JOIN pg_inherits up ON up.inhrelid = i.indexrelid"
            ")"
            " SELECT name, round(sum(pg_table_size(oid)) / 1048576.0, 1)::float FROM part GROUP BY name"
        )
    )


def _bytes_per_row(running: MeasuredPlatform) -> int:
    """Returns the size of the ledger's partitions that have rows, with all indexes, for each row."""
    [(size,)] = running.query(
        "SELECT sum(pg_total_relation_size(relid)) / (SELECT count(*) FROM deliveries_finished)"
        " FROM pg_partition_tree('deliveries_finished') WHERE isleaf AND pg_relation_size(relid) > 0"
    )
    return int(size)
