"""The deliverer's task."""

from __future__ import annotations

from celery import shared_task
from celery.worker import state

from deliveries.sender import process_sender


@shared_task(name="deliveries.deliver_pending")
def deliver_pending() -> None:
    """Sends what is due. A hint: it carries nothing, and one too many finds nothing to do."""
    process_sender().drain(should_stop=lambda: state.should_stop not in (None, False))
