"""Compares what a schedule does before and after a change: a change that leaves it equal has no effect.

The values compared are the recurrence as the engine sees it, its start, and the request as it would be sent; never the
names of the given fields. Nothing here touches the database.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from datetime import datetime

import orjson
from django.conf import settings

from commands_platform.lib.errors import InvalidInputError
from scheduling.models import ScheduledExecution
from scheduling.recurrence import Recurrence, identity_of


@dataclass(frozen=True, slots=True)
class Effect:
    """When a schedule runs from an instant on, and what it sends. When it ends is no part of that."""

    timing: Hashable
    request: Hashable


def effect_of(schedule: ScheduledExecution, now: datetime) -> Effect:
    """Returns what the schedule does from `now` on."""
    return Effect(timing=_timing_of(schedule, now), request=_request_of(schedule))


def stored_form(value: object) -> object:
    """Returns a field's value as the row holds it: Python takes 1, 1.0 and true for equal, and JSON does not."""
    return orjson.dumps(value) if isinstance(value, dict) else value


def _timing_of(schedule: ScheduledExecution, now: datetime) -> Hashable:
    try:
        identity = identity_of(_recurrence_of(schedule, now))
    except InvalidInputError:
        # A recurrence that can no longer be computed equals no other, so every replacement is a change.
        identity = object()
    starts_at = schedule.starts_at
    return identity, starts_at if starts_at is not None and starts_at > now else None


def _recurrence_of(schedule: ScheduledExecution, now: datetime) -> Recurrence:
    """Returns its recurrence with the anchor that its fields ask for, whatever `anchor_at` is so far."""
    recurrence = schedule.recurrence
    if schedule.cron:
        return recurrence
    if recurrence.period is not None:
        if schedule.starts_at is None:
            return recurrence
        return replace(recurrence, anchor=schedule.starts_at - settings.FREQUENCY_UNIT * schedule.execution_frequency)
    # A single run that has come stays where it was, unless it would lie before the start. Another one moves.
    starts_at = schedule.starts_at or recurrence.anchor
    if recurrence.anchor <= now and starts_at <= recurrence.anchor:
        return recurrence
    return replace(recurrence, anchor=max(now, schedule.starts_at or now))


def _request_of(schedule: ScheduledExecution) -> Hashable:
    headers = frozenset((name.lower(), value) for name, value in schedule.sent_headers.items())
    # The order of an object's keys means nothing.
    payload = orjson.dumps(schedule.payload, option=orjson.OPT_SORT_KEYS)
    return schedule.effective_callback_url, headers, payload
