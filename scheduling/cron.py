"""Computes when a wall clock matches a cron expression.

Wall time is counted in whole seconds from 1970-01-01 00:00 on that clock, without time zones and daylight saving.
"""

from __future__ import annotations

from bisect import bisect_left
from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import MAXYEAR, date
from functools import lru_cache
from typing import NamedTuple

SECONDS_PER_DAY = 86_400
UNIX_EPOCH_DAY = date(1970, 1, 1).toordinal()
_LAST_ORDINAL = date.max.toordinal()
_LONGEST_MONTHS = {month: monthrange(2000, month)[1] for month in range(1, 13)}


# The number of an nth weekday that stands for the last one of the month.
LAST = -1


@dataclass(frozen=True, slots=True)
class CronExpression:
    """The sorted values of each field, with Sunday as 0, and how the two day fields combine.

    Two expressions are equal if their fields mean the same, however they are spelled. Thousands of them are cached, so
    the values are tuples, which take a fraction of the memory of sets.
    """

    has_seconds: bool
    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    month_days: tuple[int, ...]
    """Days from 1 to 31, or counted back from the last day of the month: 0 is the last, -3 is three days before."""
    nearest_weekdays: tuple[int, ...]
    """Days, counted in the same way. Each stands for the nearest day from Monday to Friday in the same month."""
    months: tuple[int, ...]
    weekdays: tuple[int, ...]
    nth_weekdays: tuple[tuple[int, int], ...]
    """Pairs such as (1, 2), the second Monday. (1, `LAST`) is the last Monday of the month."""
    both_days_must_match: bool
    """Vixie's rule: a day needs both day fields if either starts with `*`, else one of them is enough."""
    follows_real_time: bool
    """Whether the second, minute or hour field starts with `*`. As in Debian, such an expression follows real time."""
    is_hashed: bool = field(compare=False)
    """Whether a field has an `H`, whose value depends on the seed."""
    _matching_days: dict[tuple[int, int], tuple[int, ...]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @property
    def expressions(self) -> frozenset[CronExpression]:
        return frozenset((self,))

    @property
    def can_fire(self) -> bool:
        """Whether any date matches. Each month begins on every weekday in some year, so the shapes of months decide."""
        lengths = {_LONGEST_MONTHS[month] for month in self.months}
        if 2 in self.months:
            lengths.add(28)
        return any(self.days_of_shape(first_weekday, length) for length in lengths for first_weekday in range(7))

    def first_from(self, wall: int) -> int | None:
        """Returns the first matching second at or after `wall`, or None if there is none before the year 10000."""
        day, second = divmod(wall, SECONDS_PER_DAY)
        matching_day = self._day_from(day)
        if matching_day == day:
            index = self._count_in_day(second)
            if index < self._times_per_day:
                return day * SECONDS_PER_DAY + self._time_of_day(index)
            matching_day = self._day_from(day + 1)
        return None if matching_day is None else matching_day * SECONDS_PER_DAY + self._time_of_day(0)

    def last_before(self, wall: int) -> int | None:
        """Returns the last matching second before `wall`, or None if there is none after the year 0."""
        day, second = divmod(wall, SECONDS_PER_DAY)
        matching_day = self._day_until(day)
        if matching_day == day:
            index = self._count_in_day(second)
            if index > 0:
                return day * SECONDS_PER_DAY + self._time_of_day(index - 1)
            matching_day = self._day_until(day - 1)
        return None if matching_day is None else matching_day * SECONDS_PER_DAY + self._time_of_day(-1)

    def count_between(self, start: int, end: int) -> int:
        """Counts the matching seconds in [start, end). The cost grows with the number of months, not of matches."""
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
        """Returns the matching days of that month, in order."""
        if month not in self.months:
            return ()
        first_weekday, length, _ = _month_shape(year, month)
        return self.days_of_shape(first_weekday, length)

    def days_of_shape(self, first_weekday: int, length: int) -> tuple[int, ...]:
        """Returns the matching days of a month with that first weekday and length. There are only 28 such shapes."""
        shape = (first_weekday, length)
        days = self._matching_days.get(shape)
        if days is None:
            days = self._matching_days[shape] = self._match_days(first_weekday, length)
        return days

    def _match_days(self, first_weekday: int, length: int) -> tuple[int, ...]:
        month_days = {_counted_from_start(day, length) for day in self.month_days}
        nearest_to = (_counted_from_start(day, length) for day in self.nearest_weekdays)
        month_days |= {_nearest_weekday(day, first_weekday, length) for day in nearest_to if 1 <= day <= length}
        matching = []
        for day in range(1, length + 1):
            weekday = (first_weekday + day - 1) % 7
            by_month_day = day in month_days
            by_weekday = (
                weekday in self.weekdays
                or (weekday, (day + 6) // 7) in self.nth_weekdays
                or (day > length - 7 and (weekday, LAST) in self.nth_weekdays)
            )
            if (by_month_day and by_weekday) if self.both_days_must_match else (by_month_day or by_weekday):
                matching.append(day)
        return tuple(matching)

    @property
    def _times_per_day(self) -> int:
        return len(self.hours) * len(self.minutes) * len(self.seconds)

    def _count_in_day(self, second_of_day: int) -> int:
        """Counts the matching times of a day before that second, which is also the index of the next one."""
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

    @property
    def times_of_day(self) -> int:
        """The matching seconds of a matching day, as a set of bits."""
        in_minute = sum(1 << second for second in self.seconds)
        in_hour = sum(in_minute << 60 * minute for minute in self.minutes)
        return sum(in_hour << 3600 * hour for hour in self.hours)

    def _count_days(self, start: int, end: int) -> int:
        """Counts the matching days in [start, end)."""
        count = 0
        for year, month, first, until in months_between(start, end):
            days = self.days_in(year, month)
            count += bisect_left(days, until) - bisect_left(days, first)
        return count


def months_between(start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Yields the months of the days in [start, end): year, month, the first day, and the day after the last."""
    first, last = date.fromordinal(start + UNIX_EPOCH_DAY), date.fromordinal(end + UNIX_EPOCH_DAY)
    year, month, day = first.year, first.month, first.day
    while (year, month) < (last.year, last.month):
        yield year, month, day, 32
        year, month = (year, month + 1) if month < 12 else (year + 1, 1)
        day = 1
    yield year, month, day, last.day


class _MonthShape(NamedTuple):
    first_weekday: int
    length: int
    first_day: int


@lru_cache(maxsize=2400)
def _month_shape(year: int, month: int) -> _MonthShape:
    monday_based, length = monthrange(year, month)
    return _MonthShape((monday_based + 1) % 7, length, date(year, month, 1).toordinal() - UNIX_EPOCH_DAY)


def _counted_from_start(day: int, length: int) -> int:
    return day if day > 0 else length + day


def _nearest_weekday(day: int, first_weekday: int, length: int) -> int:
    """Returns the day from Monday to Friday that is nearest to that day in the same month."""
    weekday = (first_weekday + day - 1) % 7
    if weekday == 6:
        return day - 1 if day > 1 else day + 2
    if weekday == 0:
        return day + 1 if day < length else day - 2
    return day
