"""The types of events that the platform itself publishes, with a sample of each body.

A type is declared where the event is published: `COMPLETED = event_type("platform.schedule.completed", …)`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SAMPLE_UUID = "c96d31b0-6930-4861-b0a2-3687ed36c0eb"


@dataclass(frozen=True, slots=True)
class EventType:
    """A type of event. The bodies of its events have the keys of `sample`."""

    name: str
    description: str
    sample: Mapping[str, Any]


_types: dict[str, EventType] = {}


def event_type(name: str, description: str, sample: Mapping[str, Any]) -> str:
    """Declares a type of event. Returns its name. Nobody but the platform can publish events of this name."""
    _types[name] = EventType(name, description, sample)
    return name


def event_types() -> list[EventType]:
    """Returns every type that was declared, by name."""
    return [_types[name] for name in sorted(_types)]


def sample_of(name: str) -> Mapping[str, Any]:
    """Returns the sample of the type of this name, or an empty body."""
    known = _types.get(name)
    return known.sample if known is not None else {}


def find_event_type(name: str) -> EventType | None:
    """Returns the type of this name, if there is one."""
    return _types.get(name)
