"""Takes over what lost deliverers held, within seconds and not when their leases would end.

A deliverer is lost if it has been killed, frozen or cut off. See `processes.losses` for who counts as lost, and
`processes.standing` for how a deliverer knows that it may be.
"""

from __future__ import annotations

from functools import partial

import structlog

from commands_platform.lib import broker
from commands_platform.lib.metronome import Metronome, Rhythm, TimedWork
from deliveries import outcomes
from deliveries.tasks import deliver_pending
from processes.losses import LostProcess, lost_processes, take_over
from processes.models import Role

logger = structlog.get_logger(__name__)

_LOOK_RHYTHM = Rhythm(every=0.5, offset=0.11)


def take_over_thread() -> Metronome:
    """Returns the thread of a deliverer that takes over from other deliverers that are lost."""
    return Metronome("take-over", [TimedWork("take-over", _LOOK_RHYTHM, take_over_lost)])


def take_over_lost() -> None:
    """Ends the leases of lost deliverers, and wakes a sender. Leaves rows that somebody has locked to the next time."""
    for process in lost_processes(Role.DELIVERER):
        take_over(process, partial(_release_from, process))


def _release_from(process: LostProcess) -> bool:
    """Ends the leases of the process. Returns whether it holds none any more."""
    held, ended = outcomes.end_leases(process.id)
    if ended:
        logger.warning("deliverer_lost", process=str(process.id), host=process.host, deliveries=ended)
        broker.send_hint_on_commit(deliver_pending)
    return held == ended
