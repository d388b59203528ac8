"""The task that removes expired items."""

from __future__ import annotations

from celery import shared_task

from storage import expiry


@shared_task(name="storage.remove_expired")
def remove_expired() -> None:
    """Removes some of the expired items. The next run continues, so this message may be lost."""
    expiry.remove_expired(limit=2_000)
