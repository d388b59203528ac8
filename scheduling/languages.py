"""The words of the languages that rules are described in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass

from django.utils.translation.trans_real import parse_accept_lang_header


@dataclass(frozen=True, slots=True)
class Language:
    """The phrases of one language. Braces are filled in, and each pair is the singular and the plural."""

    code: str
    and_: str
    months: Sequence[str]
    weekdays: Sequence[str]
    """Sunday is the first."""
    ordinals: Sequence[str]
    """The first to the fifth weekday of a month, and the last one."""
    units: Mapping[str, tuple[str, str]]
    every_one: Mapping[str, str]
    every_many: str
    once: str
    later: str
    at_times: str
    at_minutes: tuple[str, str]
    at_seconds: tuple[str, str]
    of_every_hour: str
    in_hours: tuple[str, str]
    between: str
    on: str
    """Stands around the days, but not around a range of weekdays."""
    or_on: str
    but_only: str
    weekday_range: str
    weekdays_of: tuple[str, str]
    nth_weekday: str
    month_days: tuple[str, str]
    last_day: str
    before_last_day: tuple[str, str]
    last_workday: str
    nearest_workday: str
    nearest_to_before_last: str
    in_months: str
    month_range: str
    day_or_last: str

    def join(self, parts: Sequence[str]) -> str:
        """Returns "a", "a and b" or "a, b and c"."""
        if len(parts) < 2:
            return "".join(parts)
        return f"{', '.join(parts[:-1])} {self.and_} {parts[-1]}"

    def count(self, number: int, unit: str) -> str:
        return f"{number} {self.units[unit][number != 1]}"

    def every(self, number: int, unit: str) -> str:
        return self.every_one[unit] if number == 1 else self.every_many.format(self.count(number, unit))


ENGLISH = Language(
    code="en",
    and_="and",
    months=(
        *("January", "February", "March", "April", "May", "June", "July", "August", "September"),
        *("October", "November", "December"),
    ),
    weekdays=("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"),
    ordinals=("first", "second", "third", "fourth", "fifth", "last"),
    units={
        "seconds": ("second", "seconds"),
        "minutes": ("minute", "minutes"),
        "hours": ("hour", "hours"),
        "days": ("day", "days"),
        "weeks": ("week", "weeks"),
        "months": ("month", "months"),
    },
    every_one={
        "seconds": "every second",
        "minutes": "every minute",
        "hours": "every hour",
        "days": "every day",
        "weeks": "every week",
        "months": "every month",
    },
    every_many="every {}",
    once="once, on {} at {}",
    later="{}, up to {} later",
    at_times="at {}",
    at_minutes=("at minute {}", "at minutes {}"),
    at_seconds=("at second {}", "at seconds {}"),
    of_every_hour="{} of every hour",
    in_hours=("in hour {}", "in hours {}"),
    between="between {} and {}",
    on="on {}",
    or_on="{} or {}",
    but_only="{}, but only {}",
    weekday_range="{} to {}",
    weekdays_of=("{}", "{}"),
    nth_weekday="the {} {} of the month",
    month_days=("day {} of the month", "days {} of the month"),
    last_day="the last day of the month",
    before_last_day=("{} day before the last day of the month", "{} days before the last day of the month"),
    last_workday="the last weekday of the month",
    nearest_workday="the weekday nearest to day {}",
    nearest_to_before_last="the weekday nearest to {}",
    in_months="in {}",
    month_range="from {} to {}",
    day_or_last="day {} or the last day of the month",
)

SPANISH = Language(
    code="es",
    and_="y",
    months=(
        *("enero", "febrero", "marzo", "abril", "mayo", "junio", "julio", "agosto", "septiembre"),
        *("octubre", "noviembre", "diciembre"),
    ),
    weekdays=("domingo", "lunes", "martes", "miércoles", "jueves", "viernes", "sábado"),
    ordinals=("primer", "segundo", "tercer", "cuarto", "quinto", "último"),
    units={
        "seconds": ("segundo", "segundos"),
        "minutes": ("minuto", "minutos"),
        "hours": ("hora", "horas"),
        "days": ("día", "días"),
        "weeks": ("semana", "semanas"),
        "months": ("mes", "meses"),
    },
    every_one={
        "seconds": "cada segundo",
        "minutes": "cada minuto",
        "hours": "cada hora",
        "days": "cada día",
        "weeks": "cada semana",
        "months": "cada mes",
    },
    every_many="cada {}",
    once="una vez, el {} a las {}",
    later="{}, hasta {} más tarde",
    at_times="a las {}",
    at_minutes=("en el minuto {}", "en los minutos {}"),
    at_seconds=("en el segundo {}", "en los segundos {}"),
    of_every_hour="{} de cada hora",
    in_hours=("en la hora {}", "en las horas {}"),
    between="entre las {} y las {}",
    on="{}",
    or_on="{} o {}",
    but_only="{}, pero solo {}",
    weekday_range="de {} a {}",
    weekdays_of=("el {}", "los días {}"),
    nth_weekday="el {} {} del mes",
    month_days=("el día {} del mes", "los días {} del mes"),
    last_day="el último día del mes",
    before_last_day=("{} día antes del último día del mes", "{} días antes del último día del mes"),
    last_workday="el último día laborable del mes",
    nearest_workday="el día laborable más cercano al día {}",
    nearest_to_before_last="el día laborable más cercano a {}",
    in_months="en {}",
    month_range="de {} a {}",
    day_or_last="el día {} o el último día del mes",
)

# The language of the request that this thread handles.
current_language: ContextVar[Language] = ContextVar("scheduling_language", default=ENGLISH)

LANGUAGES = {language.code: language for language in (ENGLISH, SPANISH)}


def language_for(accept_language: str) -> Language:
    """Returns the language that an `Accept-Language` header prefers, or English."""
    for code, quality in parse_accept_lang_header(accept_language.lower()[:500]):
        language = LANGUAGES.get(code.partition("-")[0])
        if language is not None and quality > 0:
            return language
    return ENGLISH
