"""The load of a chaos run: schedules and backlogs of deliveries. The database copies them from rows of the platform.

As a program, this module prepares an empty database. It migrates it and makes an organization with a command and a
user, and a paused schedule to copy from. It does so in one process, because starting Django takes most of the time.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID, uuid4

from harness.chaos.judge import Load, Row
from harness.chaos.platform import ChaosPlatform

# Late slots are skipped, sent once, or sent one by one. All of them must be accounted for.
_POLICIES = ("fire_latest", "fire_latest", "skip", "fire_all")

_COPY_SCHEDULE = """
INSERT INTO scheduling_scheduledexecution
SELECT copy.* FROM scheduling_scheduledexecution template, unnest(
    %(uuids)s::uuid[], %(crons)s::text[], %(frequencies)s::int[], %(policies)s::text[], %(anchors)s::timestamptz[],
    %(firsts)s::timestamptz[], %(urls)s::text[]
) AS v(uuid, cron, frequency, policy, anchor, first, url),
LATERAL jsonb_populate_record(template, jsonb_build_object(
    'id', nextval(pg_get_serial_sequence('scheduling_scheduledexecution', 'id')), 'uuid', v.uuid, 'name', 'chaos',
    'is_active', true, 'deactivation_reason', '', 'cron', v.cron, 'cron_seconds', v.cron <> '',
    'execution_frequency', v.frequency, 'misfire_policy', v.policy, 'anchor_at', v.anchor, 'next_run_at', v.first,
    'callback_url', v.url, 'effective_from', %(now)s::timestamptz, 'starts_at', v.first,
    'ends_at', %(end)s::timestamptz, 'max_attempts', %(max_attempts)s::smallint
)) AS copy
WHERE template.name = 'template'
"""

_LEDGER = """
SELECT id, source_uuid, due_at, last_due_at, slot_count, state, reason,
       ARRAY(SELECT (line::jsonb->>0)::int FROM string_to_table(rtrim(attempts, E'\\n'), E'\\n') line
             WHERE jsonb_typeof(line::jsonb->2) = 'string')
FROM deliveries_delivery WHERE kind = 'scheduled'
"""

# These look as if they had been dispatched in time while no sender ran, evenly spread over the span up to `until`.
_COPY_DELIVERIES = """
INSERT INTO deliveries_delivery
SELECT copy.* FROM (SELECT * FROM deliveries_delivery WHERE state = 'delivered' LIMIT 1) template,
LATERAL (
    SELECT number, uuidv7() AS id, gen_random_uuid() AS source, date_trunc('milliseconds', until - span
        + span * number / %(count)s) AS due, (%(urls)s::text[])[1 + number %% cardinality(%(urls)s::text[])] AS url
    FROM generate_series(0, %(count)s - 1) number, (VALUES (%(until)s::timestamptz, %(span)s::interval)) x(until, span)
) AS v,
LATERAL jsonb_populate_record(NULL::deliveries_delivery, to_jsonb(template) || jsonb_build_object(
    'id', v.id, 'source_uuid', v.source, 'due_at', v.due, 'next_attempt_at', v.due, 'state', 'pending',
    'attempt_count', 0, 'attempts', '', 'last_status', NULL, 'finished_at', NULL, 'lease', NULL,
    'url', v.url || '/', 'origin', v.url, 'schedule_name', 'backlog'
)) AS copy
"""


@dataclass(frozen=True, slots=True)
class _Kind:
    """Schedules of one kind: a cron expression or a period in seconds, and their number."""

    cron: str
    seconds: int
    count: int


def kinds_of(rate: int) -> list[_Kind]:
    """Returns periods and cron expressions of one and two seconds, with `rate` slots a second in total."""
    share = rate // 4
    return [
        _Kind("", 1, share),
        _Kind("", 2, share * 2),
        _Kind("* * * * * *", 1, share),
        _Kind("*/2 * * * * *", 2, (rate - share * 3) * 2),
    ]


class _Schedule(NamedTuple):
    """The columns of a schedule that differ from those of the template."""

    uuid: UUID
    cron: str
    frequency: int
    policy: str
    anchor: datetime
    first: datetime
    url: str


def make_load(platform: ChaosPlatform, *, rate: int, span: timedelta, url: str = "") -> list[Load]:
    """Makes schedules with `rate` slots a second. They begin in a few seconds and end by themselves after `span`."""
    first = platform.now().replace(microsecond=0) + timedelta(seconds=4)
    first += timedelta(seconds=first.second % 2)
    end = first + span
    loads: list[Load] = []
    schedules: list[_Schedule] = []
    policies = itertools.cycle(_POLICIES)
    for kind in kinds_of(rate):
        period = timedelta(seconds=kind.seconds)
        for number in range(kind.count):
            # Half of the periods of two seconds are due at odd seconds. Cron expressions of two are due at even ones.
            start = first if kind.cron else first + timedelta(seconds=number % kind.seconds)
            load = Load(uuid4(), start, period, end)
            loads.append(load)
            frequency = 0 if kind.cron else kind.seconds
            schedules.append(_Schedule(load.uuid, kind.cron, frequency, next(policies), start - period, start, url))
    _store(platform, schedules, end=end)
    return loads


def make_poison(platform: ChaosPlatform, *, count: int, begin: datetime, span: timedelta, url: str) -> list[Load]:
    """Makes schedules with one slot each, spread over the span. The receiver at `url` kills each sender."""
    # Each has one attempt, so it takes a few deaths only until a row is taken for their cause.
    period, end = timedelta(hours=1), begin + span
    starts = [begin + timedelta(seconds=span.total_seconds() * number // count) for number in range(count)]
    loads = [Load(uuid4(), start, period, end, is_poison=True) for start in starts]
    schedules = [
        _Schedule(load.uuid, "", 3600, "fire_all", load.first - period, load.first, f"{url}/") for load in loads
    ]
    _store(platform, schedules, end=end, max_attempts=1)
    return loads


def _store(
    platform: ChaosPlatform, schedules: Sequence[_Schedule], *, end: datetime, max_attempts: int | None = None
) -> None:
    names = ("uuids", "crons", "frequencies", "policies", "anchors", "firsts", "urls")
    values = {name: list(column) for name, column in zip(names, zip(*schedules, strict=True), strict=True)}
    platform.query(_COPY_SCHEDULE, {**values, "now": platform.now(), "end": end, "max_attempts": max_attempts})


def make_backlog(platform: ChaosPlatform, *, count: int, span: timedelta, urls: Sequence[str]) -> None:
    """Makes `count` deliveries that were due during the last `span` and never sent, spread over the origins."""
    platform.query(_COPY_DELIVERIES, {"count": count, "until": platform.now(), "span": span, "urls": list(urls)})


def ledger(platform: ChaosPlatform) -> list[Row]:
    """Returns every ledger row of a schedule."""
    return [
        Row(id_, schedule, due_at, last_due_at, slot_count, state, reason, frozenset(errors))
        for id_, schedule, due_at, last_due_at, slot_count, state, reason, errors in platform.query(_LEDGER)
    ]


def _prepare(callback_url: str) -> None:
    import django
    from django.core.management import call_command

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "commands_platform.settings")
    django.setup()
    call_command("migrate", "--noinput", "--verbosity", "0")
    call_command("bootstrap", "--organization", "Chaos", "--callback-url", callback_url, "--json")

    from organizations.models import Command, User
    from scheduling.models import DeactivationReason, ScheduledExecution

    command, owner = Command.objects.get(), User.objects.get()
    now = owner.created_at
    ScheduledExecution.objects.create(
        organization=command.organization,
        command=command,
        owner=owner,
        name="template",
        is_active=False,
        deactivation_reason=DeactivationReason.PAUSED,
        effective_from=now,
        anchor_at=now,
    )


if __name__ == "__main__":
    _prepare(sys.argv[1])
