"""Computes when a wall clock shows the times of a period, such as 09:00 on every second Monday.

Wall time is counted in whole seconds from 1970-01-01 00:00 on that clock, without time zones and daylight saving.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left
from calendar import monthrange
from dataclasses import dataclass
from datetime import MAXYEAR, date
from functools import lru_cache

from scheduling.cron import SECONDS_PER_DAY, UNIX_EPOCH_DAY
from scheduling.every import load_every

_DAYS_PER_WEEK = 7
_LAST_MONTH = MAXYEAR * 12 + 11


class _Cycle(ABC):
    """A sequence of matching seconds, which are numbered."""

    __slots__ = ()
    second: int
    """The second of the day."""

    @property
    def has_seconds(self) -> bool:
        return self.second % 60 != 0

    def first_from(self, wall: int) -> int | None:
        """Returns the first matching second at or after `wall`, or None if there is none before the year 10000."""
        return self._match(self._count_before(wall))

    def last_before(self, wall: int) -> int | None:
        """Returns the last matching second before `wall`, or None if there is none after the year 0."""
        return self._match(self._count_before(wall) - 1)

    def count_between(self, start: int, end: int) -> int:
        """Counts the matching seconds in [start, end)."""
        return max(0, self._count_before(end) - self._count_before(start))

    @abstractmethod
    def _count_before(self, wall: int) -> int:
        """Returns the number of the first match at or after `wall`."""

    @abstractmethod
    def _match(self, number: int) -> int | None:
        """Returns the match with this number, or None if its year is out of range."""


@dataclass(frozen=True, slots=True)
class DayCycle(_Cycle):
    """One time on the same days of each cycle of `length` days. Cycles are counted from 1970-01-01."""

    length: int
    days: tuple[int, ...]
    """The days of the cycle, sorted. The first one is 0."""
    second: int

    def _count_before(self, wall: int) -> int:
        """Counts the matches from 1970 to `wall`. The count is negative before 1970."""
        day, second = divmod(wall, SECONDS_PER_DAY)
        if second > self.second:
            day += 1
        cycle, day_of_cycle = divmod(day, self.length)
        return cycle * len(self.days) + bisect_left(self.days, day_of_cycle)

    def _match(self, number: int) -> int:
        cycle, index = divmod(number, len(self.days))
        return (cycle * self.length + self.days[index]) * SECONDS_PER_DAY + self.second


@dataclass(frozen=True, slots=True)
class MonthCycle(_Cycle):
    """One time on the same day of every `length` months. A month without that day has it on its last day."""

    length: int
    phase: int
    """The months since the year 0, modulo `length`."""
    day: int
    second: int

    def _count_before(self, wall: int) -> int:
        """Counts the matches from the year 0 to `wall`."""
        at = date.fromordinal(wall // SECONDS_PER_DAY + UNIX_EPOCH_DAY)
        number, rest = divmod(at.year * 12 + at.month - 1 - self.phase, self.length)
        if rest:
            return number + 1
        match = self._match(number)
        return number + (match is not None and match < wall)

    def _match(self, number: int) -> int | None:
        month_index = number * self.length + self.phase
        if not 12 <= month_index <= _LAST_MONTH:
            return None
        year, month = divmod(month_index, 12)
        day = min(self.day, monthrange(year, month + 1)[1])
        return (date(year, month + 1, day).toordinal() - UNIX_EPOCH_DAY) * SECONDS_PER_DAY + self.second


@lru_cache(maxsize=4096)
def cycle_of(every: str, start: date) -> DayCycle | MonthCycle:
    """Returns the times of a schedule's `every`, counted from the day, the week or the month of `start`."""
    rule = load_every(every)
    if rule.unit == "months":
        return MonthCycle(rule.count, (start.year * 12 + start.month - 1) % rule.count, rule.on_day, rule.second)
    first_day = start.toordinal() - UNIX_EPOCH_DAY
    length = rule.count
    days = [first_day]
    if rule.unit == "weeks":
        length *= _DAYS_PER_WEEK
        monday = first_day - start.weekday()
        days = [monday + weekday for weekday in rule.weekdays]
    return DayCycle(length, tuple(sorted(day % length for day in days)), rule.second)
