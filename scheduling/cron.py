"""When a wall clock matches a cron expression: arithmetic on naive wall time.

Wall time is counted here in whole seconds from 1970-01-01 00:00 on the wall. It knows no zone and no daylight saving.
"""

from __future__ import annotations

from bisect import bisect_left
from calendar import monthrange
from dataclasses import dataclass, field
from datetime import MAXYEAR, date
from functools import lru_cache
from typing import NamedTuple

SECONDS_PER_DAY = 86_400
UNIX_EPOCH_DAY = date(1970, 1, 1).toordinal()
_LAST_ORDINAL = date.max.toordinal()


@dataclass(frozen=True, slots=True)
class CronExpression:
    """When a wall clock matches: sorted values of each field, Sunday as 0, and how the two day fields combine."""

    text: str = field(compare=False)
    """The expression with names, macros, Sunday's 7 and one-value ranges written out as plain numbers."""
    has_seconds: bool
    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    month_days: frozenset[int]
    last_day_of_month: bool
    months: frozenset[int]
    weekdays: frozenset[int]
    nth_weekdays: frozenset[tuple[int, int]]
    both_days_must_match: bool
    """Vixie's rule: a day needs both day fields when either starts with `*`, else one of them is enough."""
    follows_real_time: bool
    """Whether the second, minute or hour field starts with `*`: Debian lets such a job ignore clock changes."""
    _matching_days: dict[tuple[int, int], tuple[int, ...]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def first_from(self, wall: int) -> int | None:
        """The first matching second at or after `wall`; None when there is none before the year 10000."""
        day, second = divmod(wall, SECONDS_PER_DAY)
        matching_day = self._day_from(day)
        if matching_day == day:
            index = self._count_in_day(second)
            if index < self._times_per_day:
                return day * SECONDS_PER_DAY + self._time_of_day(index)
            matching_day = self._day_from(day + 1)
        return None if matching_day is None else matching_day * SECONDS_PER_DAY + self._time_of_day(0)

    def last_before(self, wall: int) -> int | None:
        """The last matching second before `wall`; None when there is none after the year 0."""
        day, second = divmod(wall, SECONDS_PER_DAY)
        matching_day = self._day_until(day)
        if matching_day == day:
            index = self._count_in_day(second)
            if index > 0:
                return day * SECONDS_PER_DAY + self._time_of_day(index - 1)
            matching_day = self._day_until(day - 1)
        return None if matching_day is None else matching_day * SECONDS_PER_DAY + self._time_of_day(-1)

    def count_between(self, start: int, end: int) -> int:
        """How many matching seconds lie in [start, end); takes steps of a month, never of a match."""
        if end <= start:
            return 0
        first_day, first_second = divmod(start, SECONDS_PER_DAY)
        last_day, last_second = divmod(end, SECONDS_PER_DAY)
        count = self._count_days(first_day, last_day) * self._times_per_day
        if self._day_from(first_day) == first_day:
            count -= self._count_in_day(first_second)
        if self._day_from(last_day) == last_day:
            count += self._count_in_day(last_second)
        return count

    def days_in(self, year: int, month: int) -> tuple[int, ...]:
        """The days of that month which match, in order."""
        if month not in self.months:
            return ()
        first_weekday, length, _ = _month_shape(year, month)
        return self.days_of_shape(first_weekday, length)

    def days_of_shape(self, first_weekday: int, length: int) -> tuple[int, ...]:
        """The matching days of a month that begins on that weekday and is that long: there are only 28 such shapes."""
        shape = (first_weekday, length)
        days = self._matching_days.get(shape)
        if days is None:
            days = self._matching_days[shape] = self._match_days(first_weekday, length)
        return days

    def _match_days(self, first_weekday: int, length: int) -> tuple[int, ...]:
        month_days = set(self.month_days)
        if self.last_day_of_month:
            month_days.add(length)
        matching = []
        for day in range(1, length + 1):
            weekday = (first_weekday + day - 1) % 7
            by_month_day = day in month_days
            by_weekday = weekday in self.weekdays or (weekday, (day + 6) // 7) in self.nth_weekdays
            if (by_month_day and by_weekday) if self.both_days_must_match else (by_month_day or by_weekday):
                matching.append(day)
        return tuple(matching)

    @property
    def _times_per_day(self) -> int:
        return len(self.hours) * len(self.minutes) * len(self.seconds)

    def _count_in_day(self, second_of_day: int) -> int:
        """How many matching times of a day come before that second; so it is also the index of the next one."""
        minute_of_day, second = divmod(second_of_day, 60)
        hour, minute = divmod(minute_of_day, 60)
        hours, minutes, seconds = self.hours, self.minutes, self.seconds
        hour_index = bisect_left(hours, hour)
        if hour_index == len(hours) or hours[hour_index] != hour:
            return hour_index * len(minutes) * len(seconds)
        minute_index = bisect_left(minutes, minute)
        index = (hour_index * len(minutes) + minute_index) * len(seconds)
        if minute_index == len(minutes) or minutes[minute_index] != minute:
            return index
        return index + bisect_left(seconds, second)

    def _time_of_day(self, index: int) -> int:
        minute_index, second_index = divmod(index, len(self.seconds))
        hour_index, minute_index = divmod(minute_index, len(self.minutes))
        return self.hours[hour_index] * 3600 + self.minutes[minute_index] * 60 + self.seconds[second_index]

    def _day_from(self, day: int) -> int | None:
        ordinal = day + UNIX_EPOCH_DAY
        if not 1 <= ordinal <= _LAST_ORDINAL:
            return None
        start = date.fromordinal(ordinal)
        year, month = start.year, start.month
        days = self.days_in(year, month)
        index = bisect_left(days, start.day)
        if index < len(days):
            return day + days[index] - start.day
        while (year, month) < (MAXYEAR, 12):
            year, month = (year, month + 1) if month < 12 else (year + 1, 1)
            if days := self.days_in(year, month):
                return _month_shape(year, month).first_day + days[0] - 1
        return None

    def _day_until(self, day: int) -> int | None:
        ordinal = day + UNIX_EPOCH_DAY
        if not 1 <= ordinal <= _LAST_ORDINAL:
            return None
        end = date.fromordinal(ordinal)
        year, month = end.year, end.month
        days = self.days_in(year, month)
        index = bisect_left(days, end.day + 1)
        if index > 0:
            return day + days[index - 1] - end.day
        while (year, month) > (1, 1):
            year, month = (year, month - 1) if month > 1 else (year - 1, 12)
            if days := self.days_in(year, month):
                return _month_shape(year, month).first_day + days[-1] - 1
        return None

    def _count_days(self, start: int, end: int) -> int:
        """How many days in [start, end) match."""
        first, last = date.fromordinal(start + UNIX_EPOCH_DAY), date.fromordinal(end + UNIX_EPOCH_DAY)
        year, month = first.year, first.month
        count = -bisect_left(self.days_in(year, month), first.day)
        while (year, month) < (last.year, last.month):
            count += len(self.days_in(year, month))
            year, month = (year, month + 1) if month < 12 else (year + 1, 1)
        return count + bisect_left(self.days_in(year, month), last.day)


class _MonthShape(NamedTuple):
    first_weekday: int
    length: int
    first_day: int


@lru_cache(maxsize=2400)
def _month_shape(year: int, month: int) -> _MonthShape:
    monday_based, length = monthrange(year, month)
    return _MonthShape((monday_based + 1) % 7, length, date(year, month, 1).toordinal() - UNIX_EPOCH_DAY)
