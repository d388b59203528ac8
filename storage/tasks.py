"""The sweeper's task."""

from __future__ import annotations

from celery import shared_task

from storage import expiry


@shared_task(name="storage.remove_expired")
def remove_expired() -> None:
    """Removes expired items. A hint: what one run leaves, the next one takes."""
    expiry.remove_expired(limit=2_000)
