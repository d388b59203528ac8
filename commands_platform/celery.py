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

from commands_platform.beat import WholeSeconds
from commands_platform.lib.database.availability import is_away, log_away
from commands_platform.lib.logs import logging_config

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "commands_platform.settings")

logger = structlog.get_logger(__name__)


class HintTask(Task[..., Any]):
    """A task that a later tick sends again. If the database is unavailable, it logs one line and ends."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
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
    "tick": {"task": "scheduling.tick", "schedule": WholeSeconds(offset=-0.02), "options": {"expires": 10}},
    "dispatch-ahead": {
        "task": "scheduling.dispatch_ahead",
        "schedule": WholeSeconds(offset=-0.75),
        "options": {"expires": 0.5},
    },
    # Housekeeping runs in small portions between the ticks, so that a tick finds its worker free.
    "expired-items": {
        "task": "storage.remove_expired",
        "schedule": WholeSeconds(every=10, offset=0.12),
        "options": {"expires": 5},
    },
    "expired-sessions": {
        "task": "commands_platform.remove_expired_sessions",
        "schedule": WholeSeconds(every=60, offset=3.13),
        "options": {"expires": 30},
    },
    "retention": {
        "task": "scheduling.remove_finished",
        "schedule": WholeSeconds(every=5, offset=0.16),
        "options": {"expires": 3},
    },
    "failing": {
        "task": "scheduling.deactivate_failing",
        "schedule": WholeSeconds(every=10, offset=7.18),
        "options": {"expires": 5},
    },
    "repeats": {
        "task": "scheduling.give_back_repeats",
        "schedule": WholeSeconds(every=2, offset=1.14),
        "options": {"expires": 1},
    },
    "removed-installations": {
        "task": "installations.end_removed",
        "schedule": WholeSeconds(every=10, offset=5.17),
        "options": {"expires": 5},
    },
    "gone": {
        "task": "scheduling.follow_gone",
        "schedule": WholeSeconds(every=2, offset=1.14),
        "options": {"expires": 1},
    },
    "zones": {
        "task": "scheduling.follow_zones",
        "schedule": WholeSeconds(every=2, offset=0.14),
        "options": {"expires": 1},
    },
}


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
