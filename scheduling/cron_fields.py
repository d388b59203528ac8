"""Reads the fields of a cron expression, and returns the values that they stand for."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple

from scheduling.cron import LAST
from scheduling.errors import InvalidCronError


class FieldKind(NamedTuple):
    """One of the fields, by its place: its name, its bounds, and the number of values before they repeat."""

    name: str
    low: int
    high: int
    size: int
    names: dict[str, int]
    unit: str = ""
    """The unit in which `@every` would count the steps. A step that is too large may be meant as a period."""

    def cycled(self, value: int) -> int:
        """Returns the value within the cycle: hour 25 is hour 1, and day of the week 7 is Sunday, 0."""
        return self.low + (value - self.low) % self.size


def _numbered(names: str, start: int) -> dict[str, int]:
    return {name: number for number, name in enumerate(names.split(), start)}


SECOND = FieldKind("second", 0, 59, 60, {}, unit="s")
MINUTE = FieldKind("minute", 0, 59, 60, {}, unit="m")
HOUR = FieldKind("hour", 0, 23, 24, {}, unit="h")
DAY_OF_MONTH = FieldKind("day-of-month", 1, 31, 31, {})
MONTH = FieldKind("month", 1, 12, 12, _numbered("JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC", 1))
DAY_OF_WEEK = FieldKind("day-of-week", 0, 7, 7, _numbered("SUN MON TUE WED THU FRI SAT", 0))
FIVE_FIELDS = (MINUTE, HOUR, DAY_OF_MONTH, MONTH, DAY_OF_WEEK)
SIX_FIELDS = (SECOND, *FIVE_FIELDS)

# Every month has these days, so a hashed day comes in each month.
_HASHED_DAY_OF_MONTH = DAY_OF_MONTH._replace(high=28, size=28)
_SECONDS_IN = {"s": 1, "m": 60, "h": 3600}

_DIGITS = re.compile(r"[0-9]+")
_HASH = re.compile(r"H(?:\((.*)\))?", re.IGNORECASE)
_FROM_MONTH_END = re.compile(r"L(?:-([0-9]+))?(W?)", re.IGNORECASE)
_NEAREST_WEEKDAY = re.compile(r"([0-9]+)W", re.IGNORECASE)
_MISPLACED = {
    "?": "? must be alone in the day-of-month or day-of-week field; elsewhere use *",
    "#": "# belongs in the day-of-week field, after one day: 5#2 is the second Friday",
    "W": "W belongs in the day-of-month field, after one day: 15W is the weekday nearest to the 15th",
    "L": "L is the last day in the day-of-month field, and 5L the last Friday in the day-of-week field",
    "H": "H takes a range in parentheses and a step: H, H(0-29), H/15",
    "R": "there are no random values, but H stays the same for one schedule",
}


@dataclass(slots=True)
class Values:
    """The values that a field stands for. Days are counted as in `CronExpression`."""

    starts_with_star: bool
    plain: set[int] = field(default_factory=set)
    nearest_weekdays: set[int] = field(default_factory=set)
    nth_weekdays: set[tuple[int, int]] = field(default_factory=set)
    hash_range: set[int] = field(default_factory=set)
    """The values from which the seed has chosen those of `H`."""


def read_field(kind: FieldKind, word: str, start: int, seed: str) -> Values:
    """Reads a field that begins at offset `start` of its expression. Raises InvalidCronError."""
    if word == "?" and kind in (DAY_OF_MONTH, DAY_OF_WEEK):
        word = "*"
    values = Values(starts_with_star=word.startswith("*"))
    offset = start
    for term in word.split(","):
        _read_term(kind, term, offset, seed, values)
        offset += len(term) + 1
    return values


def _read_term(kind: FieldKind, term: str, offset: int, seed: str, values: Values) -> None:
    body, slash, step = term.partition("/")
    if (match := _HASH.fullmatch(body)) is not None:
        chosen, hash_range = _read_hash(kind, match, step if slash else None, offset, seed)
        values.plain |= chosen
        values.hash_range |= hash_range
    elif kind is DAY_OF_MONTH and (match := _FROM_MONTH_END.fullmatch(body)) is not None:
        _refuse_step(kind, body, slash, offset)
        before = int(match[1] or 0)
        if before > 30:
            raise wrong(kind, offset, f"L-{_shortened(match[1])} is before the start of every month. Use L-30 or less.")
        (values.nearest_weekdays if match[2] else values.plain).add(-before)
    elif kind is DAY_OF_MONTH and (match := _NEAREST_WEEKDAY.fullmatch(body)) is not None:
        _refuse_step(kind, body, slash, offset)
        values.nearest_weekdays.add(_read_value(kind, match[1], offset))
    elif kind is DAY_OF_WEEK and ("#" in body or body[-1:] in {"L", "l"}):
        _refuse_step(kind, body, slash, offset)
        values.nth_weekdays.add(_read_nth_weekday(body, offset))
    else:
        values.plain |= _read_range(kind, body, step if slash else None, offset)


def _refuse_step(kind: FieldKind, body: str, slash: str, offset: int) -> None:
    if slash:
        raise wrong(kind, offset + len(body), f"{body} is one day and takes no step.")


def _read_nth_weekday(text: str, offset: int) -> tuple[int, int]:
    if "#" not in text:
        if len(text) == 1:
            raise wrong(DAY_OF_WEEK, offset, "L needs its day here: 5L is the last Friday of the month.")
        return DAY_OF_WEEK.cycled(_read_value(DAY_OF_WEEK, text[:-1], offset)), LAST
    day, _, nth = text.partition("#")
    weekday = DAY_OF_WEEK.cycled(_read_value(DAY_OF_WEEK, day, offset))
    if nth not in {"1", "2", "3", "4", "5"}:
        reason = f"the number after # is 1 to 5, not {_shortened(nth)!r}; the last Friday of the month is 5L."
        raise wrong(DAY_OF_WEEK, offset + len(day) + 1, reason)
    return weekday, int(nth)


def _read_hash(
    kind: FieldKind, match: re.Match[str], step_text: str | None, offset: int, seed: str
) -> tuple[set[int], set[int]]:
    """Returns the values of `H` or `H(low-high)`, with or without a step, and the values that they are chosen from.

    The choice depends on the seed and the field alone, so it never changes.
    """
    if kind is DAY_OF_MONTH:
        kind = _HASHED_DAY_OF_MONTH
    low, high = kind.low, kind.low + kind.size - 1
    if match[1] is not None:
        low_text, dash, high_text = match[1].partition("-")
        if not dash:
            raise wrong(kind, offset + 2, f"H takes a range in its parentheses, like H({low}-{high}).")
        low = _read_value(kind, low_text, offset + 2)
        high = _read_value(kind, high_text, offset + 2 + len(low_text) + 1)
        high += kind.size if high < low else 0
    digest = blake2b(f"{kind.name} {seed}".encode(errors="surrogatepass"), digest_size=8).digest()
    # Without a step there is one value: a step over the whole range.
    step = size = high - low + 1
    if step_text is not None:
        step = _read_step(kind, step_text, offset + match.end() + 1, size=size)
    start = low + int.from_bytes(digest) % step
    chosen = {kind.cycled(value) for value in range(start, high + 1, step)}
    return chosen, {kind.cycled(value) for value in range(low, high + 1)}


def _read_range(kind: FieldKind, body: str, step_text: str | None, offset: int) -> set[int]:
    """Returns the values of `*`, `n` or `low-high`, with or without a step. Ranges may wrap around, like `22-2`."""
    low, high = kind.low, kind.low + kind.size - 1
    size = kind.size
    if body != "*":
        low_text, dash, high_text = body.partition("-")
        low = _read_value(kind, low_text, offset)
        if dash:
            high = _read_value(kind, high_text, offset + len(low_text) + 1)
            high += kind.size if high < low else 0
            size = high - low + 1
        elif step_text is None:
            high = low
        else:
            # `5/15` is `5-59/15`, as in Quartz.
            low = kind.cycled(low)
    step = 1 if step_text is None else _read_step(kind, step_text, offset + len(body) + 1, size=size)
    return {kind.cycled(value) for value in range(low, high + 1, step)}


def _read_step(kind: FieldKind, text: str, offset: int, *, size: int) -> int:
    if not _DIGITS.fullmatch(text):
        reason = f"a step is a number, not {_shortened(text)!r}." if text else "the step after / is missing."
        raise wrong(kind, offset, reason)
    step = int(text)
    if step > kind.size and kind.unit and step * _SECONDS_IN[kind.unit] < 10**9:
        period = f"{step * _SECONDS_IN[kind.unit]:,} seconds"
        reason = f"a step is at most {size} here; for a period of {period} write '@every {step}{kind.unit}'."
        raise wrong(kind, offset, reason)
    if not 1 <= step <= size:
        raise wrong(kind, offset, f"the step must be 1 to {size} here, not {_shortened(text)}.")
    return step


def _read_value(kind: FieldKind, text: str, offset: int) -> int:
    if _DIGITS.fullmatch(text):
        value = int(text)
        if not kind.low <= value <= kind.high:
            reason = f"{_shortened(text)} is not between {kind.low} and {kind.high}"
            reason += " (H takes only days that every month has)." if kind is _HASHED_DAY_OF_MONTH else "."
            raise wrong(kind, offset, reason)
        return value
    named = kind.names.get(text.upper())
    if named is not None:
        return named
    if not text:
        raise wrong(kind, offset, "a value is missing.")
    known = f"a number from {kind.low} to {kind.high}"
    if kind.names:
        known += f" or a name like {next(iter(kind.names))}"
    hint = next((f"; {hint}" for sign, hint in _MISPLACED.items() if _is_used(sign, text)), "")
    raise wrong(kind, offset, f"{_shortened(text)!r} is not {known}{hint}.")


def _is_used(sign: str, text: str) -> bool:
    """Returns whether the text uses the sign and not just a word with that letter: `15W`, but not `WEDNESDAY`."""
    if not sign.isalpha():
        return sign in text
    return any(sign in letters and len(letters) <= 2 for letters in re.findall(r"[A-Z]+", text.upper()))


def wrong(kind: FieldKind, offset: int, reason: str) -> InvalidCronError:
    """Returns an error about the text at that offset of the expression."""
    return InvalidCronError(reason, field=kind.name, position=offset + 1)


def _shortened(text: str) -> str:
    return text if len(text) <= 20 else text[:20] + "…"
