"""Compares what a schedule does before and after a change. If both are equal, the change has no effect.

It compares the recurrence, the start, and the request as it would be sent, never the names of the given fields. Nothing
here touches the database.
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
    """When a schedule runs from some instant on, and what it sends. Its end is not part of that."""

    rule: Hashable
    spread: int
    request: Hashable


def effect_of(schedule: ScheduledExecution, now: datetime) -> Effect:
    """Returns what the schedule does from `now` on."""
    return Effect(rule=_rule_of(schedule, now), spread=schedule.spread, request=_request_of(schedule))


def stored_form(value: object) -> object:
    """Returns a field's value as it is stored: 1, 1.0 and true are equal in Python, but not in JSON."""
    return orjson.dumps(value) if isinstance(value, dict) else value


def _rule_of(schedule: ScheduledExecution, now: datetime) -> Hashable:
    try:
        identity = identity_of(_recurrence_of(schedule, now))
    except InvalidInputError:
        # A recurrence that can no longer be computed equals no other one, so replacing it is always a change.
        identity = object()
    starts_at = schedule.starts_at
    return identity, starts_at if starts_at is not None and starts_at > now else None


def _recurrence_of(schedule: ScheduledExecution, now: datetime) -> Recurrence:
    """Returns its recurrence with the anchor that its fields ask for, which `anchor_at` may not show yet."""
    recurrence = schedule.recurrence
    if schedule.cron:
        return recurrence
    if schedule.every:
        return replace(recurrence, anchor=schedule.counted_from)
    if recurrence.period is not None:
        if schedule.starts_at is None:
            return recurrence
        return replace(recurrence, anchor=schedule.starts_at - settings.FREQUENCY_UNIT * schedule.execution_frequency)
    # A single run that was already due keeps its time, unless that is before the start. A run still to come moves.
    starts_at = schedule.starts_at or recurrence.anchor
    if recurrence.anchor <= now and starts_at <= recurrence.anchor:
        return recurrence
    return replace(recurrence, anchor=max(now, schedule.starts_at or now))


def _request_of(schedule: ScheduledExecution) -> Hashable:
    headers = frozenset((name.lower(), value) for name, value in schedule.sent_headers.items())
    # The order of an object's keys means nothing.
    payload = orjson.dumps(schedule.payload, option=orjson.OPT_SORT_KEYS)
    return schedule.effective_callback_url, headers, payload
