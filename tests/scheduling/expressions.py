"""Generates cron expressions together with their meaning, for oracles that parse no expressions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache, partial

from hypothesis import reject
from hypothesis import strategies as st

from scheduling.cron import CronExpression
from scheduling.cron_grammar import parse_expression
from scheduling.errors import InvalidCronError

MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Field:
    text: str
    plain: str
    """The same field in forms that every cron reads alike: stars with steps, and lists of numbers."""
    values: frozenset[int]

    @property
    def has_star(self) -> bool:
        return self.text[0] in "*?"


@dataclass(frozen=True)
class Special:
    """A term such as `15W`, and a function that says whether it matches a day."""

    text: str
    takes: Callable[[date], bool]


@dataclass(frozen=True)
class Expression:
    second: Field | None
    minute: Field
    hour: Field
    month_day: Field
    month: Field
    weekday: Field
    month_day_specials: tuple[Special, ...] = ()
    weekday_specials: tuple[Special, ...] = ()

    @property
    def text(self) -> str:
        month_day = ",".join([self.month_day.text, *(special.text for special in self.month_day_specials)])
        weekday = ",".join([self.weekday.text, *(special.text for special in self.weekday_specials)])
        clock = [field.text for field in (self.second, self.minute, self.hour) if field]
        return " ".join([*clock, month_day, self.month.text, weekday])

    @property
    def plain(self) -> str:
        month_day = ",".join([self.month_day.plain, *(special.text for special in self.month_day_specials)])
        weekday = ",".join([self.weekday.plain, *(special.text for special in self.weekday_specials)])
        return f"{self.minute.plain} {self.hour.plain} {month_day} {self.month.plain} {weekday}"

    @property
    def follows_real_time(self) -> bool:
        return any(field.has_star for field in (self.second, self.minute, self.hour) if field)

    @lru_cache(maxsize=1000)  # noqa: B019
    def matches_day(self, day: date) -> bool:
        by_month_day = day.day in self.month_day.values or any(each.takes(day) for each in self.month_day_specials)
        by_weekday = day.isoweekday() % 7 in self.weekday.values or any(
            each.takes(day) for each in self.weekday_specials
        )
        both = self.month_day.has_star or self.weekday.has_star
        return day.month in self.month.values and (
            (by_month_day and by_weekday) if both else (by_month_day or by_weekday)
        )

    def parse_or_reject(self) -> CronExpression:
        """Rejects the example if the expression can never fire. Nothing else may be wrong with it."""
        try:
            return parse_expression(self.text, seconds=self.second is not None)
        except InvalidCronError as refusal:
            if "would never fire" not in refusal.message:
                raise
            reject()


def is_days_before_the_end(before: int, day: date) -> bool:
    return (day + before * DAY).month == day.month != (day + (before + 1) * DAY).month


def is_nearest_weekday(target: int, day: date) -> bool:
    """Returns whether the day is the weekday (Monday to Friday) of its month nearest to the target day."""
    days = [day.replace(day=1) + n * DAY for n in range(31)]
    days = [each for each in days if each.month == day.month]
    target = len(days) + target if target <= 0 else target
    if not 1 <= target <= len(days):
        return False
    working_days = [each for each in days if each.isoweekday() <= 5]
    return day == min(working_days, key=lambda each: abs(each.day - target))


def is_nth_weekday(weekday: int, nth: int, day: date) -> bool:
    return (
        day.isoweekday() % 7 == weekday
        and (day - (nth - 1) * 7 * DAY).month == day.month != (day - nth * 7 * DAY).month
    )


def is_last_weekday(weekday: int, day: date) -> bool:
    return day.isoweekday() % 7 == weekday and (day + 7 * DAY).month != day.month


@st.composite
def fields(draw: st.DrawFn, low: int, high: int, names: tuple[str, ...] = ()) -> Field:
    """Generates terms of all kinds that are sets of numbers. Days of the week are 0 to 7."""
    last = 6 if high == 7 else high
    shown: list[str] = []
    plain: list[str] = []
    values: set[int] = set()

    def spell(value: int) -> str:
        if names and value <= last and draw(st.booleans()):
            change = draw(st.sampled_from([str.upper, str.lower, str.title]))
            return change(names[value - low])
        return str(value)

    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(["star", "star/", "value", "value", "value/", "range", "range", "range/", "whole"]))
        start, end = draw(st.integers(low, high)), draw(st.integers(low, high))
        if kind == "whole":
            start, end = low, high
        text = "*" if kind.startswith("star") else spell(start)
        if kind in {"range", "range/", "whole"}:
            text += f"-{spell(end)}"
        else:
            end = start if kind == "value" else last
            start = low if kind.startswith("star") else start
        # Sunday is 7 only at the end of a range.
        start = low if start > last and end < start else start
        span = list(range(start, end + 1)) if start <= end else [*range(start, last + 1), *range(low, end + 1)]
        if kind.endswith("/"):
            step = draw(st.integers(1, len(span) if kind == "range/" else last - low + 1))
            text += f"/{step}"
            span = span[::step]
        span = [value if value <= last else low for value in span]
        shown.append(text)
        plain.append(text if kind.startswith("star") else ",".join(map(str, span)))
        values.update(span)
    return Field(",".join(shown), ",".join(plain), frozenset(values))


def single_values(low: int, high: int) -> st.SearchStrategy[Field]:
    return st.integers(low, high).map(lambda value: Field(str(value), str(value), frozenset({value})))


def month_day_specials() -> st.SearchStrategy[Special]:
    before = st.integers(0, 30)
    day = st.integers(1, 31)
    return st.one_of(
        st.just(Special("L", partial(is_days_before_the_end, 0))),
        st.just(Special("LW", partial(is_nearest_weekday, 0))),
        before.map(lambda n: Special(f"L-{n}", partial(is_days_before_the_end, n))),
        before.map(lambda n: Special(f"l-{n}w", partial(is_nearest_weekday, -n))),
        day.map(lambda n: Special(f"{n}W", partial(is_nearest_weekday, n))),
    )


def weekday_specials() -> st.SearchStrategy[Special]:
    weekday = st.integers(0, 7)
    return st.one_of(
        st.tuples(weekday, st.integers(1, 5)).map(
            lambda pair: Special(f"{pair[0]}#{pair[1]}", partial(is_nth_weekday, pair[0] % 7, pair[1]))
        ),
        weekday.map(lambda day: Special(f"{day}L", partial(is_last_weekday, day % 7))),
        weekday.map(lambda day: Special(f"{WEEKDAYS[day % 7]}L", partial(is_last_weekday, day % 7))),
    )


def specials_in_cronsim() -> tuple[st.SearchStrategy[Special], st.SearchStrategy[Special]]:
    """Generates the special terms of both day fields that cronsim knows too, in its spelling."""
    month_day = st.sampled_from(
        [Special("L", partial(is_days_before_the_end, 0)), Special("LW", partial(is_nearest_weekday, 0))]
    )
    weekday = weekday_specials().filter(lambda special: special.text[0].isdigit())
    return month_day, weekday


@st.composite
def expressions(
    draw: st.DrawFn, *, seconds: bool = False, as_in_cronsim: bool = False, hourly_at_most: bool = False
) -> Expression:
    known = specials_in_cronsim() if as_in_cronsim else (month_day_specials(), weekday_specials())
    specials = [tuple(draw(st.lists(special, max_size=2))) if draw(st.booleans()) else () for special in known]
    star = "*" if any(specials) else draw(st.sampled_from(["*", "?"]))
    every_day = Field(star, "*", frozenset(range(32)))
    return Expression(
        second=draw(fields(0, 59)) if seconds else None,
        minute=draw(single_values(0, 59) if hourly_at_most else fields(0, 59)),
        hour=draw(fields(0, 23)),
        month_day=draw(st.one_of(st.just(every_day), fields(1, 31))),
        month=draw(st.one_of(st.just(Field("*", "*", frozenset(range(1, 13)))), fields(1, 12, MONTHS))),
        weekday=draw(st.one_of(st.just(every_day), fields(0, 7, WEEKDAYS))),
        month_day_specials=specials[0],
        weekday_specials=specials[1],
    )
