"""Schedules by the million, written by SQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from benchmarks.support.platform import MeasuredPlatform, Owner

# Longer than a benchmark runs, so each schedule fires once.
_PERIOD_SECONDS = 24 * 3600

_INSERT_SCHEDULES = """
INSERT INTO scheduling_scheduledexecution (
    uuid, organization_id, command_id, owner_id, name, is_active, description, cron, cron_seconds, dst_gap,
    dst_overlap, execution_frequency, repeats, payload, callback_url, timezone_type, timezone, misfire_policy,
    misfire_grace, skip_overlapping, headers, effective_from, anchor_at, next_run_at, deactivation_reason,
    created_at, updated_at
)
SELECT gen_random_uuid(), %(organization)s, %(command)s, %(owner)s, 'benchmark ' || g, true, '', %(cron)s, false,
       'run_after', 'first', %(frequency)s, %(repeats)s,
       '{"number":' || g || ',"text":"' || repeat('x', %(payload)s) || '"}',
       (%(urls)s::text[])[1 + g %% cardinality(%(urls)s::text[])], 'organization_timezone', '', 'fire_latest', 5,
       false, '{}', now(), slot.due, slot.due, '', now(), now()
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
) -> None:
    """`count` schedules due at `due`, or `each_second` of them in each second from then on.

    `kind` is once, period or cron; `payload` is the length of each payload's text; URLs are taken in turn.
    """
    parameters = {
        "organization": owner.organization_id,
        "command": owner.command_id,
        "owner": owner.user_id,
        "cron": "*/5 * * * *" if kind == "cron" else "",
        "frequency": _PERIOD_SECONDS if kind == "period" else 0,
        "repeats": 1 if kind == "once" else -1,
        "payload": payload,
        "urls": list(urls),
        "count": count,
        "due": due,
        "each_second": each_second or max(1, count),
    }
    with platform.connect() as connection:
        # The rows are known to be sound: their foreign keys need not be looked up a million times.
        connection.execute("SET session_replication_role = replica")
        connection.execute(_INSERT_SCHEDULES, parameters)


def settle(platform: MeasuredPlatform) -> None:
    """Statistics and a checkpoint, so that what is measured next is not paying for the inserts."""
    for statement in (
        "VACUUM (ANALYZE) scheduling_scheduledexecution",
        "VACUUM (ANALYZE) deliveries_delivery",
        "CHECKPOINT",
    ):
        platform.execute(statement)
