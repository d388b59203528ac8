"""Rates: a number of requests in a period."""

from __future__ import annotations

import re
from typing import NamedTuple

_SECONDS_OF_PERIOD = {"s": 1, "sec": 1, "second": 1, "m": 60, "min": 60, "minute": 60, "h": 3600, "hour": 3600}
_RATE = re.compile(r"([0-9]{1,9})/([a-z]+)")


class Rate(NamedTuple):
    """A number of requests in a period of that many seconds."""

    amount: int
    period: int


def parse_rate(text: str) -> Rate | None:
    """Returns the rate in a text such as `6000/min`, or None for `0`, which means no limit. Raises ValueError."""
    if text == "0":
        return None
    match = _RATE.fullmatch(text)
    if match is None or match[2] not in _SECONDS_OF_PERIOD or int(match[1]) == 0:
        raise ValueError("must be a number of requests and a period, such as 6000/min, or 0 for no limit")
    return Rate(int(match[1]), _SECONDS_OF_PERIOD[match[2]])


def per_minute(amount: int) -> Rate | None:
    """Returns the rate of that many requests a minute, or None for 0."""
    return Rate(amount, 60) if amount else None
