"""The task that ends what removed commands left behind."""

from __future__ import annotations

from celery import shared_task

from installations import ending


@shared_task(name="installations.end_removed")
def end_removed() -> None:
    """Ends a portion of what removed commands left behind. A hint: what one run leaves, the next one takes."""
    ending.end_removed()
