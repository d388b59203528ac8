"""The Celery task that wakes the fan-out of a dispatcher."""

from __future__ import annotations

from celery import shared_task

from events.outbox import bell


@shared_task(name="events.fan_out")
def fan_out() -> None:
    """Wakes the thread that fans out events. It is a hint without arguments; a superfluous one finds nothing to do."""
    bell.set()
