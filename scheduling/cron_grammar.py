"""The grammar of cron expressions. It is strict, and the cost of reading an expression is bounded.

A schedule's `cron` is text: one expression, or several, each of which ends with a newline.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple, TypeVar

from commands_platform.lib.zones import InvalidTimezoneError, check_zone
from scheduling.cron import CronExpression
from scheduling.cron_fields import DAY_OF_MONTH, FIVE_FIELDS, SIX_FIELDS, Values, read_field, wrong
from scheduling.cron_union import CronUnion
from scheduling.errors import InvalidCronError

_T = TypeVar("_T")
_Sortable = TypeVar("_Sortable", int, tuple[int, int])

MAX_EXPRESSIONS = 16
MAX_EXPRESSION_LENGTH = 255

_MACROS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_ZONE_PREFIX = re.compile(r"(?:CRON_)?TZ=", re.IGNORECASE)


class Word(NamedTuple):
    """A part of an expression between blanks, and the offset where it starts."""

    offset: int
    text: str


class Words(NamedTuple):
    """The parts of an expression: the zone of its `TZ=` prefix, if it has one, and the words after it."""

    zone: str | None
    rest: list[Word]


def join_expressions(expressions: Sequence[str]) -> str:
    """Returns the text of several expressions, which `split_expressions` splits again."""
    return "".join(f"{expression}\n" for expression in expressions)


def split_expressions(cron: str) -> list[str]:
    """Returns the expressions of a schedule's `cron`, in order."""
    return cron.removesuffix("\n").split("\n") if cron else []


@lru_cache(maxsize=1024)
def parse_cron(cron: str, *, seconds: bool = False, seed: str = "") -> CronExpression | CronUnion:
    """Returns the meaning of a schedule's `cron`. With `seconds` each expression has six fields, the seconds first.

    `seed` is the text that `H` takes its values from. Two results are equal if their fields mean the same. Raises
    InvalidCronError, which says what is wrong and where, also for an expression that can never fire.
    """
    parsed = union_of(read_each(cron, lambda expression: parse_expression(expression, seconds=seconds, seed=seed)))
    if parsed is None:
        raise InvalidCronError("a cron expression is missing.")
    return parsed


def read_each(cron: str, read: Callable[[str], _T]) -> list[_T]:
    """Reads each expression of a schedule's `cron`. If there are several, InvalidCronError says which one is wrong."""
    expressions = split_expressions(cron)
    if len(expressions) > MAX_EXPRESSIONS:
        raise InvalidCronError(f"there may be {MAX_EXPRESSIONS} expressions at most, not {len(expressions)}.")
    found = []
    for number, expression in enumerate(expressions, 1):
        try:
            found.append(read(expression))
        except InvalidCronError as error:
            if len(expressions) == 1:
                raise
            raise error.of_expression(number) from error
    return found


def union_of(expressions: Iterable[CronExpression]) -> CronExpression | CronUnion | None:
    """Returns an expression that matches if any of these does, or None if there are none."""
    distinct = frozenset(expressions)
    return CronUnion(distinct) if len(distinct) > 1 else next(iter(distinct), None)


def parse_expression(expression: str, *, seconds: bool = False, seed: str = "") -> CronExpression:
    """Returns the meaning of one expression. Raises InvalidCronError."""
    kinds = SIX_FIELDS if seconds else FIVE_FIELDS
    words = _field_words(expression, seconds=seconds)
    fields = [read_field(kind, word.text, word.offset, seed) for kind, word in zip(kinds, words, strict=True)]
    *clock, month_day, month, weekday = fields
    minute, hour = clock[-2:]
    second = clock[0] if seconds else Values(starts_with_star=False, plain={0})
    parsed = CronExpression(
        has_seconds=seconds,
        seconds=_sorted(second.plain),
        minutes=_sorted(minute.plain),
        hours=_sorted(hour.plain),
        month_days=_sorted(month_day.plain),
        nearest_weekdays=_sorted(month_day.nearest_weekdays),
        months=_sorted(month.plain),
        weekdays=_sorted(weekday.plain),
        nth_weekdays=_sorted(weekday.nth_weekdays),
        both_days_must_match=month_day.starts_with_star or weekday.starts_with_star,
        follows_real_time=any(values.starts_with_star for values in clock),
        is_hashed=any(values.hash_range for values in fields),
    )
    # The expression must be able to fire in every month that a seed might choose.
    chosen = [replace(parsed, months=(value,)) for value in month.hash_range]
    if not all(expression.can_fire for expression in chosen or [parsed]):
        reason = "no date has such a day in such a month, so the expression would never fire."
        raise wrong(DAY_OF_MONTH, words[-3].offset, f"{reason} L is the last day of any month.")
    return parsed


def _sorted(values: set[_Sortable]) -> tuple[_Sortable, ...]:
    return tuple(sorted(values))


def split_words(expression: str) -> Words:
    """Splits an expression at blanks and tabs, and removes the `TZ=` prefix. Raises InvalidCronError."""
    if not isinstance(expression, str):
        raise InvalidCronError("a cron expression is a string.")
    if len(expression) > MAX_EXPRESSION_LENGTH:
        reason = f"a cron expression has at most {MAX_EXPRESSION_LENGTH} characters, not {len(expression)}."
        raise InvalidCronError(reason)
    for offset, character in enumerate(expression):
        if not (" " <= character <= "~" or character == "\t"):
            reason = f"character U+{ord(character):04X} is not allowed in a cron expression."
            raise InvalidCronError(reason, position=offset + 1)
    words = [Word(match.start(), match.group()) for match in re.finditer(r"[^ \t]+", expression)]
    prefix = _ZONE_PREFIX.match(words[0].text) if words else None
    if prefix is None:
        return Words(None, words)
    try:
        return Words(check_zone(words[0].text[prefix.end() :]), words[1:])
    except InvalidTimezoneError as error:
        raise InvalidCronError(error.message, position=words[0].offset + prefix.end() + 1) from error


def _field_words(expression: str, *, seconds: bool) -> list[Word]:
    """Returns one word for each field. A macro is replaced by its fields."""
    words = split_words(expression).rest
    if words and words[0].text.startswith("@"):
        return _expand_macro(words, seconds=seconds)
    names = [kind.name for kind in (SIX_FIELDS if seconds else FIVE_FIELDS)]
    if len(words) == len(names):
        return words
    reason = f"{len(names)} fields are needed ({', '.join(names)}), not {len(words)}."
    if any(_ZONE_PREFIX.match(word.text) for word in words):
        reason += " TZ= must come before the fields."
    elif len(words) == 6:
        reason += " Six fields, the seconds first, need cron_seconds: true."
    elif len(words) == 5:
        reason += " Five fields need cron_seconds: false."
    elif len(words) == len(SIX_FIELDS) + 1:
        reason += " There is no field for years: starts_at and ends_at limit them."
    position = words[len(names)].offset + 1 if len(words) > len(names) else len(expression.rstrip()) + 1
    raise InvalidCronError(reason, position=position)


def _expand_macro(words: list[Word], *, seconds: bool) -> list[Word]:
    (offset, macro), *rest = words
    name = macro.lower()
    if name == "@reboot":
        reason = "@reboot has no meaning here. Leave out cron and execution_frequency for one run at once."
        raise InvalidCronError(reason, position=offset + 1)
    if name == "@every":
        reason = "@every stands for a period and must be the only expression."
        raise InvalidCronError(reason, position=offset + 1)
    if name not in _MACROS:
        reason = f"{macro[:20]} is not one of {', '.join([*_MACROS, '@every'])}."
        raise InvalidCronError(reason, position=offset + 1)
    if rest:
        raise InvalidCronError(f"nothing may follow {macro}.", position=rest[0].offset + 1)
    return [Word(offset, text) for text in [*["0"] * seconds, *_MACROS[name].split()]]
