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


def _ask_for_help() -> None:
    send_hint(help_with_herd)


@shared_task(name="scheduling.tick")
def tick() -> None:
    """Dispatches everything that is due when the next second begins. Beat sends it a little earlier, each second."""
    dispatch.tick(ask_for_help=_ask_for_help)
    _await_next_slot()


@shared_task(name="scheduling.dispatch_due")
def dispatch_due() -> None:
    """Dispatches everything that is due now. A hint: any number may run at once, and a superfluous one does nothing."""
    dispatch.dispatch_due(ask_for_help=_ask_for_help)
    _await_next_slot()


@shared_task(name="scheduling.dispatch_ahead")
def dispatch_ahead() -> None:
    """Writes slots that will be due in a moment. A hint: slots that it leaves are dispatched when they are due."""
    dispatch.dispatch_ahead(ask_for_help=_ask_for_help)


@shared_task(name="scheduling.help_with_herd")
def help_with_herd() -> None:
    """Takes a part of what another dispatcher is writing. It asks the next one in turn if there is enough for three."""
    dispatch.help_with_herd(ask_for_help=_ask_for_help)


_alarm = Alarm(lambda: send_hint(dispatch_due))
