"""Fans out published events: writes a ledger row for each hook that wants an event.

It works in portions of limited size, and each is a transaction of its own. The ledger rows of a portion are committed
together with the number of the last hook, so after a crash the fan-out continues where it was. Any number of processes
may fan out at once, because each locks its events with `SKIP LOCKED`. Organizations take turns, and the oldest events
of an organization come first.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import NamedTuple
from uuid import UUID

import orjson
import structlog
from django.db import transaction

from commands_platform.lib import broker, clock
from commands_platform.lib.clock import NOW_SQL
from commands_platform.lib.database.availability import is_away
from commands_platform.lib.database.statements import execute, rows_as, rows_of
from commands_platform.lib.metronome import Metronome, Rhythm, TimedWork
from deliveries import ledger
from deliveries.ledger import NewRow
from deliveries.tasks import deliver_pending
from events.listeners import Listener, next_listeners
from events.rows import row_for

logger = structlog.get_logger(__name__)

# The limits of one portion. It handles at least one event, and stops after the first that exceeds a limit.
_MAX_EVENTS, _MAX_EVENTS_OF_ORGANIZATION = 100, 50
_MAX_ROWS, _MAX_BYTES, _MAX_SECONDS = 500, 2 * 1024 * 1024, 0.05
# After this time the thread sees whether it has to stop.
_MAX_SECONDS_AT_ONCE = 0.2
_POSTPONED_FOR = timedelta(minutes=1)

# Hints wake the thread. Without them it looks this often, shortly before deliverers without hints do.
_RHYTHM = Rhythm(every=0.25, offset=0.1)

_COLUMNS = """
id, organization_id, uuid, name, object_id, happened_at, correlation_id, after_hook_id, until_hook_id,
octet_length(body) AS body_bytes
"""

# Goes from one organization to the next by the index, however many events wait for each of them.
_TAKE_IN_TURNS = f"""
WITH RECURSIVE turns AS (
    (SELECT organization_id FROM events_outboxevent WHERE organization_id > %(after)s ORDER BY organization_id LIMIT 1)
    UNION ALL
    SELECT following.organization_id
    FROM turns CROSS JOIN LATERAL (
        SELECT o.organization_id FROM events_outboxevent o
        WHERE o.organization_id > turns.organization_id ORDER BY o.organization_id LIMIT 1
    ) following
)
SELECT e.*
FROM turns CROSS JOIN LATERAL (
    SELECT {_COLUMNS} FROM events_outboxevent
    WHERE organization_id = turns.organization_id AND (retry_at IS NULL OR retry_at <= {NOW_SQL})
    ORDER BY id LIMIT %(of_organization)s
    FOR UPDATE SKIP LOCKED
) e
LIMIT %(limit)s
"""
_TAKE_ONE = f"SELECT {_COLUMNS} FROM events_outboxevent WHERE id = %(id)s FOR UPDATE SKIP LOCKED"

_BODIES = "SELECT id, body FROM events_outboxevent WHERE id = ANY(%(ids)b::bigint[])"
_REMOVE_DONE = "DELETE FROM events_outboxevent WHERE id = ANY(%(ids)b::bigint[])"
_MOVE_ON = "UPDATE events_outboxevent SET after_hook_id = %(after)s WHERE id = %(id)s"
_POSTPONE = f"UPDATE events_outboxevent SET retry_at = {NOW_SQL} + %(retry_after)s WHERE id = %(id)s"

# Wakes the thread of this process.
bell = threading.Event()


def fan_out() -> None:
    """Fans out events for a fraction of a second. If more may be waiting, the thread goes on at once."""
    ends_at = time.monotonic() + _MAX_SECONDS_AT_ONCE
    while process_fan_out().write_portion():
        if time.monotonic() >= ends_at:
            bell.set()
            return


def fan_out_thread() -> Metronome:
    """Returns the thread of a dispatcher that fans out events, so that no tick waits for it."""
    return Metronome("fan-out", [TimedWork("fan-out", _RHYTHM, fan_out)], bell=bell)


@cache
def process_fan_out() -> FanOut:
    return FanOut()


class _Event(NamedTuple):
    """An event in the outbox that this transaction has locked."""

    id: int
    organization_id: int
    uuid: UUID
    name: str
    object_id: str
    happened_at: datetime
    correlation_id: str | None
    after_hook_id: int
    until_hook_id: int
    body_bytes: int


class _EventPart(NamedTuple):
    """An event with those of its hooks that a portion covers."""

    event: _Event
    listeners: list[Listener]
    is_done: bool


@dataclass(slots=True)
class FanOut:
    """The fan-out of one process. It remembers whose turn it was."""

    _after: int = 0

    def write_portion(self) -> bool:
        """Writes one portion. Returns whether there was anything to do."""
        taken: list[_Event] = []
        try:
            with transaction.atomic():
                taken = self._take()
                parts = _parts(taken)
                _write(parts)
        except Exception as error:
            if not taken or is_away(error):
                raise
            # One of these events is to blame, and it must not stop the others.
            for event in taken:
                _write_alone(event)
            parts = []
        if taken:
            self._after = (parts[-1].event if parts else taken[-1]).organization_id
        return bool(taken)

    def _take(self) -> list[_Event]:
        taken = _take_after(self._after)
        if not taken and self._after:
            self._after = 0
            taken = _take_after(0)
        return taken


def _take_after(organization_id: int) -> list[_Event]:
    parameters = {
        "now": clock.replaced(),
        "after": organization_id,
        "of_organization": _MAX_EVENTS_OF_ORGANIZATION,
        "limit": _MAX_EVENTS,
    }
    # An order in the statement would make it read every waiting event.
    return sorted(rows_as(_Event, _TAKE_IN_TURNS, parameters), key=lambda event: (event.organization_id, event.id))


def _parts(events: Sequence[_Event]) -> list[_EventPart]:
    """Finds the next hooks of these events, within the limits of a portion. Only the last event may have more hooks."""
    parts: list[_EventPart] = []
    rows, size, ends_at = 0, 0, time.monotonic() + _MAX_SECONDS
    for event in events:
        room = min(_MAX_ROWS - rows, 1 + (_MAX_BYTES - size) // max(1, event.body_bytes))
        listeners = next_listeners(
            organization_id=event.organization_id,
            name=event.name,
            object_id=event.object_id,
            after=event.after_hook_id,
            until=event.until_hook_id,
            limit=room,
        )
        parts.append(_EventPart(event, listeners, is_done=len(listeners) < room))
        rows, size = rows + len(listeners), size + len(listeners) * event.body_bytes
        if rows >= _MAX_ROWS or size >= _MAX_BYTES or time.monotonic() >= ends_at or len(listeners) == room:
            break
    return parts


def _write(parts: Sequence[_EventPart]) -> None:
    """Writes the ledger rows of a portion, and removes the events that are done from the outbox."""
    heard = [part.event.id for part in parts if part.listeners]
    if heard:
        bodies = dict(rows_of(_BODIES, {"ids": heard}))
        if ledger.insert(_rows(parts, bodies), now=clock.now()):
            broker.send_hint_on_commit(deliver_pending)
    done = [part.event.id for part in parts if part.is_done]
    if done:
        execute(_REMOVE_DONE, {"ids": done})
    for part in parts:
        if not part.is_done:
            execute(_MOVE_ON, {"id": part.event.id, "after": part.listeners[-1].id})


def _write_alone(event: _Event) -> None:
    """Writes one portion of this event only. If that fails, the event is postponed."""
    try:
        with transaction.atomic():
            _write(_parts(rows_as(_Event, _TAKE_ONE, {"id": event.id})))
    except Exception as error:
        if is_away(error):
            raise
        # The message is not logged, because it may hold the row with its body.
        logger.error("event_not_fanned_out", name=event.name, error=type(error).__name__, event_uuid=str(event.uuid))
        execute(_POSTPONE, {"now": clock.replaced(), "id": event.id, "retry_after": _POSTPONED_FOR})


def _rows(parts: Sequence[_EventPart], bodies: Mapping[int, str]) -> Iterator[NewRow]:
    for event, listeners, _ in parts:
        if listeners:
            body = orjson.Fragment(bodies[event.id])
            for listener in listeners:
                yield row_for(event, listener, body, correlation_id=event.correlation_id)
