"""Writes millions of schedules by SQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cache

from benchmarks.support.platform import MeasuredPlatform, Owner

# Longer than any benchmark, so each schedule runs once.
_PERIOD_SECONDS = 24 * 3600

# Values that differ from the model's defaults.
_VALUES = {
    "uuid": "gen_random_uuid()",
    "organization_id": "%(organization)s",
    "command_id": "%(command)s",
    "owner_id": "%(owner)s",
    "name": "'benchmark ' || g",
    "cron": "%(cron)s",
    "execution_frequency": "%(frequency)s",
    "repeats": "%(repeats)s",
    "timeout": "%(timeout)s",
    "max_attempts": "%(max_attempts)s",
    "payload": """'{"number":' || g || ',"text":"' || repeat('x', %(payload)s) || '"}'""",
    "callback_url": "(%(urls)s::text[])[1 + g %% cardinality(%(urls)s::text[])]",
    "effective_from": "now()",
    "anchor_at": "slot.due",
    "next_run_at": "slot.due",
    "created_at": "now()",
    "updated_at": "now()",
}

_INSERT_SCHEDULES = """
INSERT INTO scheduling_scheduledexecution ({columns}) SELECT {values}
FROM generate_series(0, %(count)s - 1) g,
LATERAL (SELECT %(due)s::timestamptz + make_interval(secs => g / %(each_second)s::bigint) AS due) slot
"""


def insert_schedules(
    platform: MeasuredPlatform,
    owner: Owner,
    *,
    count: int,
    due: datetime,
    urls: Sequence[str],
    kind: str = "period",
    each_second: int | None = None,
    payload: int = 180,
    timeout: int | None = None,
    max_attempts: int | None = None,
) -> None:
    """Inserts `count` schedules that are due at `due`, or `each_second` of them in each second from then on.

    `kind` is once, period or cron. `payload` is the length of the text in each payload, and `timeout` is in
    seconds. URLs are used in turn.
    """
    parameters = {
        "organization": owner.organization_id,
        "command": owner.command_id,
        "owner": owner.user_id,
        "cron": "*/5 * * * *" if kind == "cron" else "",
        "frequency": _PERIOD_SECONDS if kind == "period" else 0,
        "repeats": 1 if kind == "once" else -1,
        "payload": payload,
        "timeout": timeout,
        "max_attempts": max_attempts,
        "urls": list(urls),
        "count": count,
        "due": due,
        "each_second": each_second or max(1, count),
    }
    with platform.connect() as connection:
        # The rows are known to be valid, so their foreign keys need not be checked a million times.
        connection.execute("SET session_replication_role = replica")
        defaults = _defaults(platform)
        values = {column: f"%({column})s" for column in defaults} | _VALUES
        statement = _INSERT_SCHEDULES.format(columns=", ".join(values), values=", ".join(values.values()))
        connection.execute(statement, defaults | parameters)


def prepare_inserts(platform: MeasuredPlatform) -> None:
    """Does the slow part of the first insert, so that schedules are stored before they are due."""
    _defaults(platform)


def settle(platform: MeasuredPlatform) -> None:
    """Collects statistics and makes a checkpoint, so that the inserts do not slow down the next measurement."""
    for statement in (
        "VACUUM (ANALYZE) scheduling_scheduledexecution",
        "VACUUM (ANALYZE) deliveries_queue",
        "VACUUM (ANALYZE) deliveries_finished",
        "CHECKPOINT",
    ):
        platform.execute(statement)


@cache
def _defaults(platform: MeasuredPlatform) -> dict[str, str | None]:
    defaults: dict[str, str | None] = platform.run_module("benchmarks.support.schedule_defaults")
    return defaults
