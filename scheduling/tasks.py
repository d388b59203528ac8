"""The dispatcher's tasks."""

from __future__ import annotations

from celery import shared_task

from commands_platform.lib.alarm import Alarm
from commands_platform.lib.broker import send_hint
from scheduling import dispatch


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


_alarm = Alarm(lambda: send_hint(dispatch_due))
