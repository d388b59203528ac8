"""Faults that other clients of the database cause: they hold row locks for seconds, or use up all connections."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

import psycopg

from harness.chaos.agenda import Agenda
from harness.chaos.plan import MARGIN_SECONDS, TIMEOUT_SECONDS
from harness.chaos.platform import ChaosPlatform

# Locks are held for about this long. Some are held for less than a lease, and some for longer.
_HOLD_SECONDS = (1.0, 9.0)
_WITHOUT_CONNECTIONS_SECONDS = 10.0

_LOCKS = {
    "lock schedules": (
        "SELECT FROM scheduling_scheduledexecution WHERE is_active ORDER BY random() LIMIT 100 FOR UPDATE SKIP LOCKED",
    ),
    "lock pending rows": ("SELECT FROM deliveries_delivery WHERE state = 'pending' FOR UPDATE SKIP LOCKED",),
    "lock finished rows": (
        "SELECT FROM deliveries_delivery WHERE state <> 'pending' ORDER BY id DESC LIMIT 5000 FOR UPDATE SKIP LOCKED",
    ),
    "lock small tables": tuple(
        f"SELECT FROM {table} FOR UPDATE SKIP LOCKED"
        for table in (
            *("organizations_organization", "organizations_command", "organizations_user"),
            *("processes_process", "processes_chorerun", "scheduling_dispatcheruptime"),
        )
    ),
}


def strangers_faults(agenda: Agenda) -> dict[str, Callable[[], None]]:
    return {
        **{name: partial(_hold_locks, agenda, name) for name in _LOCKS},
        "use up connections": partial(_use_up_connections, agenda),
    }


def _hold_locks(agenda: Agenda, name: str) -> None:
    began, seconds = time.time(), agenda.random.uniform(*_HOLD_SECONDS)
    try:
        connection = agenda.platform.connect()
    except psycopg.OperationalError:
        return
    connection.autocommit = False
    rows = sum(connection.execute(statement).rowcount for statement in _LOCKS[name])
    agenda.tell(name, rows=rows, seconds=round(seconds, 1))
    agenda.after(seconds, partial(_end_locks, agenda, connection, name, began))


def _end_locks(agenda: Agenda, connection: psycopg.Connection[Any], name: str, began: float) -> None:
    connection.close()
    # An outcome that could not be recorded before its lease ended is lost, if another deliverer is quicker.
    if name == "lock pending rows":
        agenda.disturb(name, began - TIMEOUT_SECONDS - MARGIN_SECONDS, began + TIMEOUT_SECONDS + MARGIN_SECONDS)


def _use_up_connections(agenda: Agenda) -> None:
    at = time.time()
    with ExitStack() as stack:
        held = _hold_all_connections(agenda.platform, stack, until=at + _WITHOUT_CONNECTIONS_SECONDS)
    # No outcome could be recorded in this time.
    agenda.disturb("use up connections", at - TIMEOUT_SECONDS - MARGIN_SECONDS, time.time() + MARGIN_SECONDS)
    agenda.tell("use up connections", held=held, seconds=_WITHOUT_CONNECTIONS_SECONDS)


def _hold_all_connections(platform: ChaosPlatform, stack: ExitStack, *, until: float) -> int:
    """Takes every connection, and ends those of the platform to take them, too. Returns the number of them."""
    held: list[psycopg.Connection[Any]] = []
    while time.time() < until:
        try:
            held.append(stack.enter_context(platform.connect()))
        except psycopg.OperationalError:
            # All are in use, some of them by the platform.
            if held:
                _end_others(held)
            time.sleep(0.05)
    return len(held)


def _end_others(held: list[psycopg.Connection[Any]]) -> None:
    own = [connection.info.backend_pid for connection in held]
    held[0].execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE backend_type = 'client backend' AND pid <> ALL(%s)",
        [own],
    )
