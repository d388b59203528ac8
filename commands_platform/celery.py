"""Configures Celery: the tasks that beat sends, and the logs of workers.

Messages are hints and may be lost. All data that must not be lost is in PostgreSQL.
"""

from __future__ import annotations

import gc
import os
from typing import Any

import structlog
from celery import Celery, Task
from celery.signals import setup_logging, worker_ready, worker_shutdown
from django.conf import settings
from django.db import Error

from commands_platform.lib.database.availability import is_away, log_away
from commands_platform.lib.logs import logging_config
from commands_platform.lib.metronome import Rhythm
from commands_platform.pacemaker import turns
from commands_platform.ticks import WholeSeconds

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "commands_platform.settings")

logger = structlog.get_logger(__name__)


class HintTask(Task[..., Any]):
    """A task that a later tick sends again. If the database is unavailable, it logs one line and ends."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.name in _REGULAR_HINTS:
            turns.note_hint()
        try:
            with turns.take():
                return super().__call__(*args, **kwargs)
        except Error as error:
            if not is_away(error):
                raise
            log_away(error, task=self.name)


app = Celery("commands_platform", task_cls=HintTask)
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
app.conf.beat_schedule = {
    # A little before the second begins, so that the dispatcher and the senders are awake when it does.
    "tick": {"task": "scheduling.tick", "schedule": WholeSeconds(Rhythm(offset=-0.02))},
    "dispatch-ahead": {"task": "scheduling.dispatch_ahead", "schedule": WholeSeconds(Rhythm(offset=-0.75))},
}
app.steps["worker"].add("commands_platform.worker:Threads")
# If these stop, the pacemaker begins. Saving a schedule sends other hints, which say nothing about beat.
_REGULAR_HINTS = {"deliveries.deliver_pending", *(each["task"] for each in app.conf.beat_schedule.values())}


@setup_logging.connect
def keep_our_logging(**_: Any) -> None:
    """Sets up our logging, because Celery would otherwise install its own handlers."""
    logging_config(log_format=settings.LOG_FORMAT, level=settings.LOG_LEVEL, timestamps=settings.LOG_TIMESTAMPS)
    # Imported here, because the web imports this module too and needs no worker.
    from celery.apps import worker

    # Celery prints its shutdown to the terminal instead of logging it. `log_end` logs it.
    worker.safe_say = lambda *_: None  # type: ignore[attr-defined]


@worker_ready.connect
def freeze_loaded_modules(**_: Any) -> None:
    """Excludes everything loaded so far from garbage collection, which would block a worker for a tenth of a second."""
    gc.collect()
    gc.freeze()
    logger.info("worker_ready")


@worker_shutdown.connect
def log_end(**_: Any) -> None:
    logger.info("worker_stopped")
