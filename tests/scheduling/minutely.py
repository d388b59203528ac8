"""Schedules that run every minute, for the tests of slots written ahead."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import orjson

from deliveries import queue
from deliveries.models import Delivery
from scheduling import dispatch
from scheduling.models import ScheduledExecution
from tests.factories import make_command, make_schedule
from tests.scheduling.schedules import MINUTE, NOON

BEFORE = NOON - timedelta(milliseconds=500)
URL = "http://127.0.0.1:9/callback"


def make_minutely(**values: Any) -> ScheduledExecution:
    """Makes a schedule that is due at noon and every minute after that."""
    command = values.pop("command", None) or make_command(callback_url=URL)
    began = NOON - MINUTE
    return make_schedule(
        command,
        **{
            "execution_frequency": 60,
            "anchor_at": began,
            "effective_from": began,
            "next_run_at": NOON,
            "payload": {"version": 1},
            **values,
        },
    )


def written_ahead(**values: Any) -> ScheduledExecution:
    schedule = make_minutely(**values)
    assert dispatch.dispatch_ahead() == 1
    schedule.refresh_from_db()
    assert schedule.next_run_at == NOON + MINUTE
    return schedule


def rows_of(schedule: ScheduledExecution) -> list[tuple[datetime, str, str]]:
    return list(Delivery.objects.of_source(schedule.uuid).order_by("due_at").values_list("due_at", "state", "reason"))


def payloads_of(schedule: ScheduledExecution) -> list[Any]:
    rows = Delivery.objects.of_source(schedule.uuid).order_by("due_at")
    return [orjson.loads(row.body) for row in rows]


def claim() -> list[queue.Claim]:
    return queue.claim(limit=10, lease=MINUTE)
