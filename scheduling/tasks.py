"""The dispatcher's tasks."""

from __future__ import annotations

from celery import shared_task

from commands_platform.lib.alarm import Alarm
from commands_platform.lib.broker import send_hint
from scheduling import dispatch, failures, gone, repeats, retention, zone_moves, zone_rules


def _await_next_slot() -> None:
    """Sets an alarm for the next slot that lies between two ticks."""
    left = dispatch.time_to_next_slot()
    if left is not None:
        _alarm.set(left)


@shared_task(name="scheduling.tick")
def tick() -> None:
    """Dispatches everything that is due when the next second begins. Beat sends it a little earlier, each second."""
    dispatch.tick()
    _await_next_slot()


@shared_task(name="scheduling.dispatch_due")
def dispatch_due() -> None:
    """Dispatches everything that is due now. A hint: any number may run at once, and a superfluous one does nothing."""
    dispatch.dispatch_due()
    _await_next_slot()


@shared_task(name="scheduling.dispatch_ahead")
def dispatch_ahead() -> None:
    """Writes slots that will be due in a moment. A hint: slots that it leaves are dispatched when they are due."""
    dispatch.dispatch_ahead()


@shared_task(name="scheduling.remove_finished")
def remove_finished() -> None:
    """Removes some ledger rows that need not be kept. A hint: the next task removes more."""
    retention.remove_finished()


@shared_task(name="scheduling.deactivate_failing")
def deactivate_failing() -> None:
    """Deactivates some of the schedules that have failed for too long. A hint, as above."""
    failures.deactivate_failing()


@shared_task(name="scheduling.follow_gone")
def follow_gone() -> None:
    """Deactivates schedules and removes hooks whose receiver has answered 410. A hint, as above."""
    gone.follow_gone()


@shared_task(name="scheduling.give_back_repeats")
def give_back_repeats() -> None:
    """Gives back repeats that were counted for runs that could not be sent. A hint, as above."""
    repeats.give_back_repeats()


@shared_task(name="scheduling.follow_zones")
def follow_zones() -> None:
    """Recomputes some next runs after somebody's zone or the rules of time zones have changed. A hint, as above."""
    zone_moves.follow()
    zone_rules.follow()


_alarm = Alarm(lambda: send_hint(dispatch_due))
