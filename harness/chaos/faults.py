"""Fills the agenda of a run with the faults of its plan."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from harness.chaos.agenda import Agenda
from harness.chaos.disk import disk_faults
from harness.chaos.everyday import everyday_faults, kill, take_broker_away_half_the_time
from harness.chaos.poison import PoisonReceiver, take_killed
from harness.chaos.strangers import strangers_faults


def plan_faults(agenda: Agenda, *, begin: float, end: float) -> None:
    """Plans rounds of all faults from `begin` to `end`, each round in another order."""
    plan = agenda.plan
    acts = everyday_faults(agenda) | strangers_faults(agenda) | disk_faults(agenda)
    faults = [*plan.once]
    at = begin + 1.0
    while at < end and plan.pause:
        faults += plan.faults
        agenda.random.shuffle(faults)
        for fault in faults:
            # Slots are due at whole seconds, so most work is in flight during the half second after them.
            hit = math.floor(at) + agenda.random.uniform(0.0, 0.5)
            if hit < end:
                agenda.at(hit, acts[fault])
            at += plan.pause * agenda.random.uniform(0.6, 1.4)
        faults = []
    if plan.broker_half:
        take_broker_away_half_the_time(agenda, begin=begin, end=end)


def bury_poisoned(agenda: Agenda, receiver: PoisonReceiver) -> Callable[[], None]:
    """Returns what the agenda must do several times a second, so that poisoned deliverers are started again."""
    return partial(_bury, agenda, receiver)


def _bury(agenda: Agenda, receiver: PoisonReceiver) -> None:
    for name in take_killed(receiver):
        # It may have been killed by another fault at the same time.
        if name in agenda.platform.names():
            kill(agenda, name)
