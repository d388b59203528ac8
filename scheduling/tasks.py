"""The dispatcher's tasks."""

from __future__ import annotations

from celery import shared_task

from scheduling import dispatch, failures, retention, zone_rules


@shared_task(name="scheduling.dispatch_due")
def dispatch_due() -> None:
    """Dispatches what is due. A hint: any number may run at once, and one too many finds nothing to do."""
    dispatch.dispatch_due()


@shared_task(name="scheduling.dispatch_ahead")
def dispatch_ahead() -> None:
    """Writes what will be due in a moment. A hint: what it leaves is dispatched when it is due."""
    dispatch.dispatch_ahead()


@shared_task(name="scheduling.remove_finished")
def remove_finished() -> None:
    """Removes a portion of what the ledger need not keep. A hint: what one run leaves, the next one takes."""
    retention.remove_finished()


@shared_task(name="scheduling.deactivate_failing")
def deactivate_failing() -> None:
    """Deactivates some of the schedules that have failed for too long. A hint, as above."""
    failures.deactivate_failing()


@shared_task(name="scheduling.follow_zone_rules")
def follow_zone_rules() -> None:
    """Computes some next runs anew where the rules of time zones are newer than they are. A hint, as above."""
    zone_rules.follow()
