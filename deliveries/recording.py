"""Keeps outcomes until they are written, in batches. Outcomes whose rows another session has locked wait for longer."""

from __future__ import annotations

import time
from functools import partial
from uuid import UUID

from commands_platform.lib.database.availability import retry_while_away, unless_away
from deliveries import hold_ups, outcomes
from deliveries.outcomes import Outcome, Recorded
from deliveries.way_out import WayOut

_RECORD_AT_ONCE = 200
_RECORD_WITHIN_SECONDS = 0.05
# A row that another session has locked is recorded later. This is the time between two tries.
LOCKED_RETRY_SECONDS = 0.02


class Recording:
    """The outcomes of one run of the sender that are not written yet.

    While the database is away, it is tried again for `patience` seconds, which is the time of a lease: after that, the
    rows belong to another sender.
    """

    def __init__(self, *, way_out: WayOut, patience: float) -> None:
        self._way_out = way_out
        self._patience = patience
        self._first_kept_at = self._next_locked_try_at = 0.0
        self.kept: list[Outcome] = []
        # By row.
        self.locked: dict[UUID, Outcome] = {}
        self.finished = 0

    def keep(self, outcome: Outcome) -> None:
        if not self.kept:
            self._first_kept_at = time.monotonic()
        self.kept.append(outcome)

    def keep_under_new_lease(self, id_: UUID, lease: UUID) -> None:
        """Moves an outcome whose row was locked to a new claim of the same row."""
        self.keep(self.locked.pop(id_)._replace(lease=lease))

    def write_due(self, *, is_idle: bool) -> None:
        """Writes a batch if it is large or old enough, or if the sender has nothing in flight."""
        now = time.monotonic()
        if self.locked and now >= self._next_locked_try_at:
            self._write_locked(now)
        is_due = is_idle or len(self.kept) >= _RECORD_AT_ONCE or now - self._first_kept_at >= _RECORD_WITHIN_SECONDS
        if self.kept and is_due:
            self._write_kept()

    def write_all(self) -> None:
        if self.locked:
            self._write_locked(time.monotonic())
        if self.kept:
            self._write_kept()

    def write_last(self) -> None:
        """Writes what is kept, but does not wait for the database. For use at the end of a run."""
        if self.kept:
            nothing = Recorded(0, [])
            self.finished += unless_away(partial(outcomes.record, self.kept), otherwise=nothing).written

    def _write_locked(self, now: float) -> None:
        self._next_locked_try_at = now + LOCKED_RETRY_SECONDS
        tried, self.locked = list(self.locked.values()), {}
        self._write(tried)

    def _write_kept(self) -> None:
        written, self.kept = self.kept, []
        self._write(written)

    def _write(self, written: list[Outcome]) -> None:
        written = hold_ups.excuse(written, way_out=self._way_out, patience=self._patience)
        recorded = retry_while_away(partial(outcomes.record, written), patience=self._patience)
        for outcome in recorded.locked:
            self.locked[outcome.id] = outcome
        self.finished += len(written) - len(recorded.locked)
