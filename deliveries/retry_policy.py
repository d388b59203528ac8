"""Whether and when a failed attempt is made again."""

from __future__ import annotations

import random as random_module
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

DEFAULT_DELAYS = (
    timedelta(seconds=5),
    timedelta(seconds=30),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
)
DEFAULT_RETRY_AFTER_CAP = timedelta(hours=1)
JITTER = 0.2

_RETRYABLE_BELOW_500 = frozenset({408, 425, 429})
_LONGEST_RETRY_AFTER = timedelta(days=365)

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH = f"(?P<month>{'|'.join(_MONTHS)})"
_TIME = r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
_SHORT_DAY = "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_LONG_DAY = "(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day"
# RFC 9110 §5.6.7: IMF-fixdate, RFC 850, asctime.
_HTTP_DATES = (
    re.compile(rf"{_SHORT_DAY}, (?P<day>[0-9]{{2}}) {_MONTH} (?P<year>[0-9]{{4}}) {_TIME} GMT"),
    re.compile(rf"{_LONG_DAY}, (?P<day>[0-9]{{2}})-{_MONTH}-(?P<year>[0-9]{{2}}) {_TIME} GMT"),
    re.compile(rf"{_SHORT_DAY} {_MONTH} (?P<day>[ 0-9][0-9]) {_TIME} (?P<year>[0-9]{{4}})"),
)
_DELTA_SECONDS = re.compile(r"[0-9]{1,64}")


def is_retryable(status: int | None) -> bool:
    """Whether an attempt that was answered so may succeed later; None stands for no answer (network error, timeout)."""
    return status is None or status in _RETRYABLE_BELOW_500 or 500 <= status <= 599


def backoff(
    attempt: int,
    *,
    delays: Sequence[timedelta] = DEFAULT_DELAYS,
    random: Callable[[], float] = random_module.random,
) -> timedelta | None:
    """The wait after `attempt` attempts (1 or more) have failed, up to 20 % longer than its delay; None after the last.

    `random` returns a float in [0, 1).
    """
    if attempt < 1:
        raise ValueError("Attempts are counted from 1.")
    if attempt > len(delays):
        return None
    return delays[attempt - 1] * (1 + JITTER * random())


def parse_retry_after(value: str | None, *, now: datetime) -> timedelta | None:
    """The wait that a `Retry-After` header asks for (RFC 9110 §10.2.3), between nothing and a year; None for junk."""
    if value is None:
        return None
    value = value.strip(" \t")
    if _DELTA_SECONDS.fullmatch(value):
        return timedelta(seconds=min(int(value), int(_LONGEST_RETRY_AFTER.total_seconds())))
    instant = _parse_http_date(value, now=now.astimezone(UTC))
    if instant is None:
        return None
    return min(max(instant - now, timedelta(0)), _LONGEST_RETRY_AFTER)


def retry_delay(
    attempt: int,
    *,
    status: int | None,
    retry_after: str | None,
    now: datetime,
    delays: Sequence[timedelta] = DEFAULT_DELAYS,
    random: Callable[[], float] = random_module.random,
    retry_after_cap: timedelta = DEFAULT_RETRY_AFTER_CAP,
) -> timedelta | None:
    """The wait before attempt `attempt` + 1, or None when there shall be none.

    `retry_after`, the raw header, can make the wait longer, up to the cap, and never shorter.
    """
    wait = backoff(attempt, delays=delays, random=random)
    if wait is None or not is_retryable(status):
        return None
    asked = parse_retry_after(retry_after, now=now) or timedelta(0)
    return max(wait, min(asked, retry_after_cap))


def _parse_http_date(value: str, *, now: datetime) -> datetime | None:
    for pattern in _HTTP_DATES:
        if (parts := pattern.fullmatch(value)) is not None:
            break
    else:
        return None
    # A leap second is written 60, which datetime does not know.
    clock = (int(parts["hour"]), int(parts["minute"]), min(int(parts["second"]), 59))
    year, month, day = int(parts["year"]), _MONTHS.index(parts["month"]) + 1, int(parts["day"])
    if len(parts["year"]) == 2:
        # RFC 9110: what looks more than 50 years ahead was meant in the past.
        year += now.year // 100 * 100
        if (year - 50, month, day, *clock) > now.timetuple()[:6]:
            year -= 100
    try:
        return datetime(year, month, day, *clock, tzinfo=UTC)
    except ValueError:
        return None
