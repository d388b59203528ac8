"""Reads the parts of a given `cron` that stand for other fields: a time zone, and `@every` for a period."""

from __future__ import annotations

import re
from datetime import timedelta
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from scheduling.cron_grammar import Word, read_each, split_words
from scheduling.errors import InvalidCronError

MAX_PERIOD = timedelta(days=3653)

# The units of Go's durations, which `@every` uses, except for µs, which is not ASCII.
_GO_UNITS = {
    "h": Fraction(3600),
    "m": Fraction(60),
    "s": Fraction(1),
    "ms": Fraction(1, 10**3),
    "us": Fraction(1, 10**6),
    "ns": Fraction(1, 10**9),
}
_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(h|ms|m|s|us|ns)")


class CronInput(NamedTuple):
    """The parts of a given `cron`."""

    cron: str
    """The same text, or empty if it stands for a period."""
    zone: str | None
    """The zone of its `TZ=` prefix."""
    period: timedelta | None


@lru_cache(maxsize=1024)
def read_cron(cron: str) -> CronInput:
    """Reads the zone and the period of a given `cron`, but not its fields. Raises InvalidCronError."""
    words = read_each(cron, split_words)
    if not words:
        return CronInput("", None, None)
    zone = words[0].zone
    period = _read_period(words[0].rest) if len(words) == 1 else None
    if period is not None and zone is not None:
        raise InvalidCronError("a period is the same in every time zone. Leave out the TZ= prefix.", position=1)
    for number, other in enumerate(words, 1):
        if other.zone != zone:
            reason = "all expressions need the same TZ= prefix. Or use timezone, and no prefix in any of them."
            raise InvalidCronError(reason, position=1, number=number)
    return CronInput("" if period is not None else cron, zone, period)


def _read_period(words: list[Word]) -> timedelta | None:
    """Reads `@every` and a duration as Go writes it, such as 5m, 90s or 1h30m. Returns None for anything else."""
    if not words or words[0].text.lower() != "@every":
        return None
    if len(words) != 2:
        raise InvalidCronError("@every needs one duration, like '@every 1h30m'.", position=words[-1].offset + 1)
    offset, text = words[1]
    parts = list(_PART.finditer(text))
    if not parts or "".join(part.group() for part in parts) != text:
        reason = f"{text[:20]!r} is not a duration like 5m, 90s or 1h30m; its units are h, m and s."
        raise InvalidCronError(reason, position=offset + 1)
    seconds = sum(
        (Fraction(number) * _GO_UNITS[unit] for number, unit in (part.groups() for part in parts)), Fraction(0)
    )
    if seconds > MAX_PERIOD.total_seconds():
        raise InvalidCronError("the period may be ten years at most.", position=offset + 1)
    if seconds < 1 or seconds.denominator != 1:
        raise InvalidCronError("a period is a whole number of seconds, at least 1.", position=offset + 1)
    return timedelta(seconds=int(seconds))
