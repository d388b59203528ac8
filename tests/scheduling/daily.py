"""Schedules whose next run was computed from other zone rules."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from scheduling import zone_rules
from scheduling.models import ScheduledExecution
from scheduling.walks import ZoneRules
from tests.factories import make_command, make_organization, make_schedule
from tests.scheduling.schedules import NOON

# Nine o'clock the next morning in Berlin.
NINE = datetime(2026, 2, 26, 8, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
OVERLAP = ZoneRules.OVERLAP
URL = "http://127.0.0.1:9/callback"


def make_daily(**values: Any) -> ScheduledExecution:
    """Makes a schedule for nine each morning in Berlin. Its next run is an hour off, as if other rules had given it."""
    command = values.pop("command", None) or make_command(make_organization(timezone="Europe/Berlin"), callback_url=URL)
    began = NOON - timedelta(days=9)
    return make_schedule(
        command,
        **{
            "cron": "0 9 * * *",
            "execution_frequency": 0,
            "anchor_at": began,
            "effective_from": began,
            "next_run_at": NINE + HOUR,
            **values,
        },
    )


def next_run_of(schedule: ScheduledExecution) -> datetime | None:
    schedule.refresh_from_db()
    return schedule.next_run_at


def logged(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """Returns the events that the walk logged, without the keys that every line has."""
    lines: list[Any] = [record.msg for record in caplog.records if record.name == zone_rules.__name__]
    return [
        {key: value for key, value in line.items() if key not in {"logger", "level", "timestamp"}} for line in lines
    ]
