"""Cron expressions: a strict grammar in front, croniter to expand the fields, and matching on naive wall time.

Wall time is counted here in whole seconds from 1970-01-01 00:00 on the wall; it knows no zone and no daylight saving.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from calendar import monthrange
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import MAXYEAR, date
from functools import lru_cache
from typing import NamedTuple

from croniter import croniter

from scheduling.errors import InvalidCronError

MAX_LENGTH = 255
SECONDS_PER_DAY = 86_400
UNIX_EPOCH_DAY = date(1970, 1, 1).toordinal()

_LONGEST_MONTHS = {month: monthrange(2000, month)[1] for month in range(1, 13)}
_MACROS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}


@dataclass(frozen=True, slots=True)
class CronExpression:
    """When a wall clock matches: sorted values of each field, Sunday as 0, and how the two day fields combine."""

    text: str
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


_LAST_ORDINAL = date.max.toordinal()


class _MonthShape(NamedTuple):
    first_weekday: int
    length: int
    first_day: int


@lru_cache(maxsize=2400)
def _month_shape(year: int, month: int) -> _MonthShape:
    monday_based, length = monthrange(year, month)
    return _MonthShape((monday_based + 1) % 7, length, date(year, month, 1).toordinal() - UNIX_EPOCH_DAY)


class _Field(NamedTuple):
    name: str
    low: int
    high: int
    names: dict[str, int]


def _numbered(names: str, start: int) -> dict[str, int]:
    return {name: number for number, name in enumerate(names.split(), start)}


_SECOND = _Field("second", 0, 59, {})
_MINUTE = _Field("minute", 0, 59, {})
_HOUR = _Field("hour", 0, 23, {})
_DAY_OF_MONTH = _Field("day-of-month", 1, 31, {})
_MONTH = _Field("month", 1, 12, _numbered("JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC", 1))
_DAY_OF_WEEK = _Field("day-of-week", 0, 7, _numbered("SUN MON TUE WED THU FRI SAT", 0))
_FIVE_FIELDS = (_MINUTE, _HOUR, _DAY_OF_MONTH, _MONTH, _DAY_OF_WEEK)
_SIX_FIELDS = (_SECOND, *_FIVE_FIELDS)

_NUMBER = re.compile(r"[0-9]+", re.ASCII)
_NTH_WEEKDAY = re.compile(r"([^#/-]*)#([^#/-]*)", re.ASCII)


class _Terms(NamedTuple):
    """A field after the grammar: its plain spelling, and the terms of it that croniter is to expand."""

    text: str
    plain: list[str]
    has_last_day: bool = False
    nth_weekdays: frozenset[tuple[int, int]] = frozenset()

    @property
    def starts_with_star(self) -> bool:
        return self.text.startswith("*")


@lru_cache(maxsize=4096)
def parse_cron(expression: str, *, seconds: bool = False) -> CronExpression:
    """The expression's meaning; with `seconds` it has six fields, the seconds first.

    Raises InvalidCronError, which says what is wrong and where, also for an expression that can never fire.
    """
    words = _split(expression, seconds=seconds)
    fields = _SIX_FIELDS if seconds else _FIVE_FIELDS
    terms = [_read_field(kind, word, start) for kind, (start, word) in zip(fields, words, strict=True)]
    *clock, month_day, month, weekday = terms
    minute, hour = clock[-2:]
    second = clock[0] if seconds else _Terms("0", ["0"])
    values = _expand([minute, hour, month_day, month, weekday, second])
    parsed = CronExpression(
        text=" ".join(term.text for term in terms),
        has_seconds=seconds,
        seconds=values[5],
        minutes=values[0],
        hours=values[1],
        month_days=frozenset(values[2]),
        last_day_of_month=month_day.has_last_day,
        months=frozenset(values[3]),
        weekdays=frozenset(values[4]),
        nth_weekdays=weekday.nth_weekdays,
        both_days_must_match=month_day.starts_with_star or weekday.starts_with_star,
        follows_real_time=any(term.starts_with_star for term in clock),
    )
    if not _can_fire(parsed):
        raise InvalidCronError(
            "no date has such a day in such a month, so the expression would never fire.",
            field=_DAY_OF_MONTH.name,
            position=words[-3][0] + 1,
        )
    return parsed


def _split(expression: str, *, seconds: bool) -> list[tuple[int, str]]:
    """The fields with the offsets where they start; a macro as the fields it stands for."""
    if not isinstance(expression, str):
        raise InvalidCronError("a cron expression is a string.")
    if len(expression) > MAX_LENGTH:
        raise InvalidCronError(f"a cron expression has at most {MAX_LENGTH} characters, not {len(expression)}.")
    for offset, character in enumerate(expression):
        if not (" " <= character <= "~" or character == "\t"):
            raise InvalidCronError(f"character U+{ord(character):04X} has no place in it.", position=offset + 1)
    words = [(match.start(), match.group()) for match in re.finditer(r"[^ \t]+", expression)]
    if words and words[0][1].startswith("@"):
        return _expand_macro(words, seconds=seconds)
    names = [kind.name for kind in (_SIX_FIELDS if seconds else _FIVE_FIELDS)]
    if len(words) != len(names):
        position = words[len(names)][0] + 1 if len(words) > len(names) else len(expression.rstrip()) + 1
        raise InvalidCronError(
            f"{len(names)} fields are needed ({', '.join(names)}), not {len(words)}.", position=position
        )
    return words


def _expand_macro(words: list[tuple[int, str]], *, seconds: bool) -> list[tuple[int, str]]:
    (start, macro), *rest = words
    if rest:
        raise InvalidCronError(f"nothing may follow {macro}.", position=rest[0][0] + 1)
    if macro not in _MACROS:
        raise InvalidCronError(f"{macro} is none of {', '.join(_MACROS)}.", position=start + 1)
    return [(start, word) for word in [*["0"] * seconds, *_MACROS[macro].split()]]


def _read_field(kind: _Field, word: str, start: int) -> _Terms:
    spelling: list[str] = []
    plain: list[str] = []
    nth_weekdays: set[tuple[int, int]] = set()
    offset = start
    for term in word.split(","):
        if kind is _DAY_OF_MONTH and term in {"L", "l"}:
            spelling.append("L")
        elif kind is _DAY_OF_WEEK and "#" in term:
            weekday, nth = _read_nth_weekday(term, offset)
            nth_weekdays.add((weekday, nth))
            spelling.append(f"{weekday}#{nth}")
        else:
            plain += (read := _read_plain(kind, term, offset))
            spelling += read
        offset += len(term) + 1
    return _Terms(",".join(spelling), plain, "L" in spelling, frozenset(nth_weekdays))


def _read_nth_weekday(term: str, offset: int) -> tuple[int, int]:
    match = _NTH_WEEKDAY.fullmatch(term)
    if match is None:
        raise _wrong(_DAY_OF_WEEK, offset, f"{term!r} is not of the form weekday#number, like 5#2.")
    weekday = _read_value(_DAY_OF_WEEK, match[1], offset)
    if match[2] not in {"1", "2", "3", "4", "5"}:
        raise _wrong(_DAY_OF_WEEK, offset + match.start(2), f"the number after # is 1 to 5, not {match[2]!r}.")
    return weekday % 7, int(match[2])


def _read_plain(kind: _Field, term: str, offset: int) -> list[str]:
    """The term in a spelling that croniter expands to just what the grammar here means by it."""
    body, slash, step_text = term.partition("/")
    if body == "*":
        low, high = kind.low, kind.high
    else:
        low_text, dash, high_text = body.partition("-")
        low = high = _read_value(kind, low_text, offset)
        if dash:
            high = _read_value(kind, high_text, offset + len(low_text) + 1)
        elif slash:
            raise _wrong(kind, offset, f"a step needs a range or *: {low}-{kind.high}/{step_text} or {low}.")
        if low > high:
            hint = " (Sunday at a range's end is 7)" if kind is _DAY_OF_WEEK and high == 0 else ""
            raise _wrong(kind, offset, f"the range {body} runs backwards{hint}.")
    step = _read_step(kind, step_text, offset + len(body) + 1, size=high - low + 1) if slash else 1
    suffix = f"/{step}" if step > 1 else ""
    if body == "*":
        return [f"*{suffix}"]
    if kind is _DAY_OF_WEEK and high == 7:
        return [str(weekday % 7) for weekday in range(low, high + 1, step)]
    # croniter takes `9-9` for the whole field.
    return [str(low) if low == high else f"{low}-{high}{suffix}"]


def _read_step(kind: _Field, text: str, offset: int, *, size: int) -> int:
    if not _NUMBER.fullmatch(text):
        raise _wrong(kind, offset, f"a step is a number, not {text!r}." if text else "the step is missing.")
    step = int(text)
    if not 1 <= step <= size:
        raise _wrong(kind, offset, f"the step must be 1 to {size} here, not {_shortened(text)}.")
    return step


def _read_value(kind: _Field, text: str, offset: int) -> int:
    if _NUMBER.fullmatch(text):
        value = int(text)
        if not kind.low <= value <= kind.high:
            raise _wrong(kind, offset, f"{_shortened(text)} is not between {kind.low} and {kind.high}.")
        return value
    named = kind.names.get(text.upper())
    if named is None:
        known = f"a number from {kind.low} to {kind.high}"
        if kind.names:
            known += f" or a name like {next(iter(kind.names))}"
        raise _wrong(kind, offset, f"{_shortened(text)!r} is not {known}." if text else "a value is missing.")
    return named


def _wrong(kind: _Field, offset: int, reason: str) -> InvalidCronError:
    return InvalidCronError(reason, field=kind.name, position=offset + 1)


def _shortened(text: str) -> str:
    return text if len(text) <= 20 else text[:20] + "…"


def _expand(terms: Iterable[_Terms]) -> list[tuple[int, ...]]:
    """The sorted values of each field in croniter's order, which has the seconds last."""
    kinds = (*_FIVE_FIELDS, _SECOND)
    plain = [",".join(term.plain) for term in terms]
    # A field of extensions alone has no plain values, and croniter none to be asked for.
    expanded, _ = croniter.expand(" ".join(text or "*" for text in plain))
    return [_values(kind, text, found) for kind, text, found in zip(kinds, plain, expanded, strict=True)]


def _values(kind: _Field, text: str, found: Collection[int | str]) -> tuple[int, ...]:
    if not text:
        return ()
    # A list with a star in it keeps the star: `*,5`.
    if "*" in found:
        return tuple(range(kind.low, 7 if kind is _DAY_OF_WEEK else kind.high + 1))
    return tuple(sorted(int(value) for value in found))


def _can_fire(parsed: CronExpression) -> bool:
    """Every month meets every first weekday sooner or later, so the shapes decide."""
    lengths = {_LONGEST_MONTHS[month] for month in parsed.months}
    if 2 in parsed.months:
        lengths.add(28)
    return any(parsed.days_of_shape(first_weekday, length) for length in lengths for first_weekday in range(7))
