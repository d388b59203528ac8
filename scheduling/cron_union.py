"""Combines several cron expressions. A wall time matches if any of them matches it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from functools import reduce
from operator import or_

from scheduling.cron import SECONDS_PER_DAY, UNIX_EPOCH_DAY, CronExpression, months_between


@dataclass(frozen=True, slots=True)
class CronUnion:
    """Two or more expressions. Either all of them have seconds or none. A time that several match counts once."""

    expressions: frozenset[CronExpression]

    @property
    def has_seconds(self) -> bool:
        return any(expression.has_seconds for expression in self.expressions)

    @property
    def is_hashed(self) -> bool:
        return any(expression.is_hashed for expression in self.expressions)

    def first_from(self, wall: int) -> int | None:
        """Returns the first matching second at or after `wall`, or None if there is none before the year 10000."""
        found = (expression.first_from(wall) for expression in self.expressions)
        return min((match for match in found if match is not None), default=None)

    def last_before(self, wall: int) -> int | None:
        """Returns the last matching second before `wall`, or None if there is none after the year 0."""
        found = (expression.last_before(wall) for expression in self.expressions)
        return max((match for match in found if match is not None), default=None)

    def count_between(self, start: int, end: int) -> int:
        """Counts the matching seconds in [start, end). The cost grows with the number of months, not of matches."""
        if end <= start:
            return 0
        times = _TimesOfDay(self.expressions)
        first_day, first_second = divmod(start, SECONDS_PER_DAY)
        last_day, last_second = divmod(end, SECONDS_PER_DAY)
        count = sum(
            sum(times.counts_in(year, month)[first - 1 : until - 1])
            for year, month, first, until in months_between(first_day, last_day)
        )
        return count - times.count_before(first_day, first_second) + times.count_before(last_day, last_second)


class _TimesOfDay:
    """The times that expressions match on each day, as sets of bits. It is made for a single count."""

    def __init__(self, expressions: Iterable[CronExpression]) -> None:
        self._expressions = tuple(expressions)
        self._times = [expression.times_of_day for expression in self._expressions]
        self._counts: dict[int, int] = {}

    def counts_in(self, year: int, month: int) -> list[int]:
        """Returns the number of times on each day of the month."""
        return [self._count_of(matching) for matching in self._matching_in(year, month)]

    def count_before(self, day: int, second: int) -> int:
        """Counts the times on that day, counted from 1970-01-01, before that second."""
        at = date.fromordinal(day + UNIX_EPOCH_DAY)
        times = self._union_of(self._matching_in(at.year, at.month)[at.day - 1])
        return (times & ((1 << second) - 1)).bit_count()

    def _matching_in(self, year: int, month: int) -> list[int]:
        """Returns which expressions match each day of the month, one bit for each."""
        matching = [0] * 31
        for number, expression in enumerate(self._expressions):
            for day in expression.days_in(year, month):
                matching[day - 1] |= 1 << number
        return matching

    def _count_of(self, matching: int) -> int:
        count = self._counts.get(matching)
        if count is None:
            count = self._counts[matching] = self._union_of(matching).bit_count()
        return count

    def _union_of(self, matching: int) -> int:
        return reduce(or_, (times for number, times in enumerate(self._times) if matching >> number & 1), 0)
