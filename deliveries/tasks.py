"""The Celery task of the deliverer."""

from __future__ import annotations

from celery import shared_task
from celery.worker import state

from deliveries.sender import process_sender


@shared_task(name="deliveries.deliver_pending")
def deliver_pending() -> None:
    """Sends due deliveries. It is a hint without arguments; a superfluous one finds nothing to do."""
    process_sender().drain(should_stop=_is_stopping)


def deliver_without_hint() -> None:
    """Sends due deliveries. It does not wait for more, because nothing says that more will come."""
    process_sender().drain(should_stop=_is_stopping, stays_in_rush=False)


def _is_stopping() -> bool:
    # After SIGTERM this is 0, the exit status, and not None or False.
    return any(each is not None and each is not False for each in (state.should_stop, state.should_terminate))
