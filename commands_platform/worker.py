"""Adapts Celery's worker: it reconnects promptly, and has threads that work without the broker."""

from __future__ import annotations

from typing import Any

import structlog
from celery import bootsteps
from celery.worker import consumer, state

from commands_platform import __version__, housekeeping
from commands_platform.lib.metronome import Metronome, Rhythm, TimedWork, stop_all
from commands_platform.pacemaker import pacemaker, turns
from deliveries.takeover import take_over_thread
from deliveries.tasks import deliver_without_hint
from events.outbox import fan_out_thread
from processes.heartbeats import Heartbeat
from processes.models import Role
from processes.standing import this_process

logger = structlog.get_logger(__name__)

# A deliverer without hints looks this often. Slots are due on whole seconds, so it looks just after each.
_DELIVERERS_RHYTHM = Rhythm(every=0.25, offset=0.005)
# A sender that stops ends its requests within three seconds.
_STOP_PATIENCE_SECONDS = 6.0


class PromptConsumer(consumer.Consumer):
    """Reconnects to the broker within a second of its return. Kombu's own pauses grow to 30 seconds."""

    def ensure_connected(self, conn: Any) -> Any:
        is_lost = False

        def note_loss(error: Exception, _pause: float) -> None:
            nonlocal is_lost
            if not is_lost:
                logger.warning("broker_is_away", error=type(error).__name__)
            is_lost = True

        conn = conn.ensure_connection(
            note_loss, None, interval_start=0.2, interval_step=0.2, interval_max=1, callback=state.maybe_shutdown
        )
        self.first_connection_attempt = False
        if is_lost:
            logger.info("broker_is_back")
        return conn


class Threads(bootsteps.StartStopStep):
    """The threads of a worker beside its main one: heartbeat and pacemaker.

    A dispatcher also has one for housekeeping and one that fans out events. A deliverer has one that takes over from
    lost deliverers. They start before the worker connects to the broker, which may be away.
    """

    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **kwargs: Any) -> None:
        super().__init__(worker, **kwargs)
        self._heartbeat: Heartbeat | None = None
        self._metronomes: list[Metronome] = []

    def start(self, worker: Any) -> None:
        queues = worker.app.amqp.queues.consume_from
        dispatches, delivers = "dispatch" in queues, "deliver" in queues
        works = _dispatchers_works(worker.app) if dispatches else []
        if delivers:
            works.append(TimedWork("deliveries.deliver_pending", _DELIVERERS_RHYTHM, deliver_without_hint))
        self._metronomes = [pacemaker(works)]
        if dispatches:
            self._metronomes += [housekeeping.housekeeping(), fan_out_thread()]
        if delivers:
            self._metronomes.append(take_over_thread())
        role = Role.DISPATCHER if dispatches else Role.DELIVERER
        self._heartbeat = Heartbeat(role, version=__version__, standing=this_process)
        turns.on_work, turns.expects_hints = self._heartbeat.note_work, dispatches
        for thread in (self._heartbeat, *self._metronomes):
            thread.start()

    def stop(self, worker: Any) -> None:
        stop_all(self._metronomes, patience=_STOP_PATIENCE_SECONDS)
        if self._heartbeat is not None:
            self._heartbeat.stop()

    def terminate(self, worker: Any) -> None:
        """Ends the threads after a second signal, too, before the process ends."""
        self.stop(worker)


def _dispatchers_works(app: Any) -> list[TimedWork]:
    """Returns the tasks that beat sends to dispatchers, with their rhythms."""
    entries = app.conf.beat_schedule.values()
    return [TimedWork(each["task"], each["schedule"].rhythm, app.tasks[each["task"]].run) for each in entries]
