"""The task that ends the schedules, hooks and deliveries of removed commands."""

from __future__ import annotations

from celery import shared_task

from installations import ending


@shared_task(name="installations.end_removed")
def end_removed() -> None:
    """Ends a portion of the rows of removed commands. The next run continues, so this message may be lost."""
    ending.end_removed()
