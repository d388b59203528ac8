"""The grammar of cron expressions: strict and bounded, with croniter to expand the fields that pass."""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Collection, Iterable
from functools import lru_cache
from typing import NamedTuple

from croniter import croniter

from scheduling.cron import CronExpression
from scheduling.errors import InvalidCronError

MAX_LENGTH = 255

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
