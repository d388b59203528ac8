"""Makes due schedules, and dispatches at a given instant."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from commands_platform.lib import clock
from scheduling import dispatch
from scheduling.models import ScheduledExecution
from tests.factories import make_command, make_schedule
from tests.scheduling.schedules import MINUTE, NOON

URL = "http://127.0.0.1:9/callback"


def dispatch_at(instant: datetime) -> int:
    with clock.replaced_by(lambda: instant):
        return dispatch.dispatch_due()


def make_due(**values: Any) -> ScheduledExecution:
    """Makes a schedule that is due at noon and every minute after that."""
    command = values.pop("command", None) or make_command(callback_url=URL)
    return make_schedule(
        command,
        **{"execution_frequency": 60, "anchor_at": NOON - MINUTE, "next_run_at": NOON, **values},
    )
