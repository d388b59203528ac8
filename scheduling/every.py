"""Reads a schedule's `every`: a period on the wall clock, such as every two weeks on Monday at 09:00.

A schedule stores it as JSON text, with the keys that were given. Empty text means that there is no such period.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson

from scheduling.errors import InvalidEveryError

# Ten years each.
MAX_COUNTS = {"days": 3653, "weeks": 521, "months": 120}
WEEKDAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
EXAMPLE = '{"weeks": 2, "on": ["MON"], "at": "09:00"}'
TIME_PATTERN = r"([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?"

_TIME = re.compile(TIME_PATTERN)
# The key that says on which day, by the unit.
_DAY_KEYS = {"days": None, "weeks": "on", "months": "on_day"}


@dataclass(frozen=True, slots=True)
class Every:
    """`count` units from one slot to the next, with the time of day as a second of the day."""

    unit: str
    count: int
    second: int
    weekdays: tuple[int, ...] = ()
    """For weeks: the days, sorted, with Monday as 0."""
    on_day: int = 0
    """For months: the day of the month."""


def read_every(value: object) -> str:
    """Returns the text that a schedule stores for the given value. Raises InvalidEveryError."""
    if not isinstance(value, dict):
        raise InvalidEveryError(
            f"It must be an object such as {EXAMPLE}. A period in seconds is execution_frequency instead."
        )
    units = [unit for unit in _DAY_KEYS if unit in value]
    if len(units) != 1:
        raise InvalidEveryError("It needs exactly one of days, weeks and months.")
    unit = units[0]
    day_key = _DAY_KEYS[unit]
    known = [unit, "at"] if day_key is None else [unit, day_key, "at"]
    unknown = next((key for key in value if key not in known), None)
    if unknown is not None:
        raise InvalidEveryError(f"{unknown[:64]!r} does not belong here. With {unit} the keys are {', '.join(known)}.")
    missing = [key for key in known if key not in value]
    if missing:
        raise InvalidEveryError(f"{' and '.join(missing)} must be given too, as in {EXAMPLE}.")
    given: dict[str, Any] = {unit: _integer(unit, value[unit], MAX_COUNTS[unit])}
    if unit == "weeks":
        given["on"] = _weekdays(value["on"])
    elif unit == "months":
        given["on_day"] = _integer("on_day", value["on_day"], 31)
    given["at"] = value["at"]
    if not isinstance(given["at"], str) or not _TIME.fullmatch(given["at"]):
        raise InvalidEveryError('at must be a time of day such as "09:00" or "23:59:30".')
    return orjson.dumps(given).decode()


@lru_cache(maxsize=1024)
def load_every(text: str) -> Every:
    """Returns the meaning of the text that a schedule stores."""
    given: Mapping[str, Any] = orjson.loads(text)
    unit = next(unit for unit in _DAY_KEYS if unit in given)
    hour, minute, *second = (int(part) for part in given["at"].split(":"))
    return Every(
        unit=unit,
        count=given[unit],
        second=hour * 3600 + minute * 60 + sum(second),
        weekdays=tuple(sorted(WEEKDAYS.index(name) for name in given.get("on", ()))),
        on_day=given.get("on_day", 0),
    )


def _integer(name: str, value: object, most: int) -> int:
    if type(value) is not int or not 1 <= value <= most:
        raise InvalidEveryError(f"{name} must be an integer from 1 to {most}.")
    return value


def _weekdays(value: object) -> list[str]:
    if not isinstance(value, list) or not 1 <= len(value) <= len(WEEKDAYS):
        raise InvalidEveryError('on must be an array of one to seven days, such as ["MON", "THU"].')
    names = [name.upper() if isinstance(name, str) else "" for name in value]
    if not all(name in WEEKDAYS for name in names):
        raise InvalidEveryError(f"Each day of on must be one of {', '.join(WEEKDAYS)}.")
    return list(dict.fromkeys(names))
