"""The times at which beat sends hints."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

from celery.schedules import BaseSchedule, schedstate

from commands_platform.lib.metronome import Rhythm


class WholeSeconds(BaseSchedule):
    """A schedule that follows a rhythm of the wall clock."""

    def __init__(self, rhythm: Rhythm) -> None:
        super().__init__()
        self.rhythm = rhythm

    def is_due(self, last_run_at: datetime) -> schedstate:
        now = time.time()
        # After the clock has stepped back, the turn is an earlier one. It is due all the same.
        is_due = self.rhythm.turn(now) != self.rhythm.turn(last_run_at.timestamp())
        return schedstate(is_due, self.rhythm.seconds_to_next(now))

    def remaining_estimate(self, last_run_at: datetime) -> Any:
        raise NotImplementedError("A schedule of whole seconds has only is_due.")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, WholeSeconds) and self.rhythm == other.rhythm

    def __hash__(self) -> int:
        return hash(self.rhythm)

    def __reduce__(self) -> tuple[type[WholeSeconds], tuple[Rhythm]]:
        return WholeSeconds, (self.rhythm,)
