"""The dispatcher's task."""

from __future__ import annotations

from celery import shared_task

from scheduling import dispatch


@shared_task(name="scheduling.dispatch_due")
def dispatch_due() -> None:
    """Dispatches what is due. A hint: any number may run at once, and one too many finds nothing to do."""
    dispatch.dispatch_due()
