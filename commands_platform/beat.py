"""Celery beat that ticks on whole seconds of the wall clock and keeps nothing on disk.

Any number of beats may run. A tick only tells a worker to look now, and a second look at the same time finds nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from celery import Celery
from celery.beat import ScheduleEntry, Scheduler

from commands_platform import __version__
from commands_platform.lib import broker
from processes.heartbeats import Heartbeat
from processes.models import Role


@dataclass(slots=True)
class _Tick:
    """A task that beat knows only by its name."""

    app: Celery
    name: str

    def apply_async(self, *, retry: bool) -> Any:
        return self.app.send_task(self.name, retry=retry)


class WholeSecondScheduler(Scheduler):
    """A scheduler for beat without a file. It wakes up when something is due, and reports that it is alive."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._heartbeat: Heartbeat | None = None

    def tick(self, *_: Any, **__: Any) -> float:
        """Sends the entries that are due. Returns the seconds until the next one."""
        if self._heartbeat is None:
            self._heartbeat = Heartbeat(Role.BEAT, version=__version__)
            self._heartbeat.start()
        for name, entry in list(self.schedule.items()):
            is_due, _wait = entry.is_due()
            if is_due:
                self.schedule[name] = next(entry)
                if broker.send_hint(_Tick(self.app, str(entry.task))):
                    self._heartbeat.note_work()
        # Computed again, because sending takes time.
        return min(self._wait_for(entry) for entry in self.schedule.values())

    def close(self) -> None:
        if self._heartbeat is not None:
            self._heartbeat.stop()
        super().close()

    @staticmethod
    def _wait_for(entry: ScheduleEntry) -> float:
        return float(entry.is_due()[1])
