"""Describes a recurrence in words, such as "At 09:00, Monday to Friday". Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from commands_platform.lib.zones import load_zone
from scheduling.cron import LAST, CronExpression
from scheduling.cron_grammar import parse_expression, split_expressions
from scheduling.every import load_every
from scheduling.languages import Language
from scheduling.recurrence import Recurrence

# Above this, the minutes and hours are described by themselves.
_MAX_TIMES = 6
_ALL_MONTHS = range(1, 13)
_ALL_MONTH_DAYS = range(1, 32)
_PERIOD_UNITS = (("days", 86_400), ("hours", 3_600), ("minutes", 60), ("seconds", 1))


def describe(recurrence: Recurrence, language: Language) -> str:
    """Returns a sentence that says when the slots are. Times of day are those of the recurrence's zone."""
    if recurrence.cron:
        text = _cron_in_words(recurrence, language)
    elif recurrence.every:
        text = _every_in_words(recurrence.every, language)
    elif recurrence.period is not None:
        text = _period_in_words(recurrence.period, language)
    else:
        local = recurrence.anchor.astimezone(load_zone(recurrence.zone))
        text = language.once.format(f"{local:%Y-%m-%d}", f"{local:%H:%M:%S}".removesuffix(":00"))
    if recurrence.spread:
        text = language.later.format(text, _span_in_words(recurrence.spread, language))
    return text[:1].upper() + text[1:]


def _cron_in_words(recurrence: Recurrence, language: Language) -> str:
    seed = str(recurrence.seed)
    parsed = [
        parse_expression(expression, seconds=recurrence.cron_seconds, seed=seed)
        for expression in split_expressions(recurrence.cron)
    ]
    return "; ".join(_expression_in_words(expression, language) for expression in dict.fromkeys(parsed))


def _every_in_words(text: str, language: Language) -> str:
    every = load_every(text)
    parts = [language.every(every.count, every.unit)]
    if every.unit == "weeks":
        parts.append(_weekdays([(day + 1) % 7 for day in every.weekdays], language))
    elif every.unit == "months":
        form = language.month_days[0] if every.on_day <= 28 else language.day_or_last
        parts.append(language.on.format(language.last_day if every.on_day == 31 else form.format(every.on_day)))
    parts.append(language.at_times.format(_time(every.second)))
    return ", ".join(parts)


def _period_in_words(period: timedelta, language: Language) -> str:
    seconds = int(period.total_seconds())
    parts = _parts_of(seconds)
    if len(parts) == 1:
        return language.every(*parts[0])
    return language.every_many.format(_span_in_words(seconds, language))


def _span_in_words(seconds: int, language: Language) -> str:
    return language.join([language.count(*part) for part in _parts_of(seconds)])


def _parts_of(seconds: int) -> list[tuple[int, str]]:
    """Returns the days, hours, minutes and seconds of a span, without those that are zero."""
    parts = []
    for unit, length in _PERIOD_UNITS:
        number, seconds = divmod(seconds, length)
        if number:
            parts.append((number, unit))
    return parts


def _expression_in_words(expression: CronExpression, language: Language) -> str:
    parts = [_times_in_words(expression, language), _days_in_words(expression, language)]
    if len(expression.months) < len(_ALL_MONTHS):
        parts.append(_months_in_words(expression.months, language))
    return ", ".join(part for part in parts if part)


def _times_in_words(expression: CronExpression, language: Language) -> str:
    hours, minutes, seconds = expression.hours, expression.minutes, expression.seconds
    if len(hours) * len(minutes) * len(seconds) <= _MAX_TIMES:
        times = [hour * 3600 + minute * 60 + second for hour in hours for minute in minutes for second in seconds]
        shows_seconds = seconds != (0,)
        return language.at_times.format(language.join([_time(time, shows_seconds=shows_seconds) for time in times]))
    parts = []
    if seconds != (0,):
        parts.append(_every_or_at(seconds, 60, "seconds", language.at_seconds, language))
    if len(minutes) < 60 or _step_of(seconds, 60) is None:
        parts.append(_every_or_at(minutes, 60, "minutes", language.at_minutes, language))
    if len(hours) < 24:
        parts.append(_hours_in_words(hours, language))
    elif len(minutes) < 60 and _step_of(minutes, 60) is None:
        if minutes == (0,) and len(parts) == 1:
            return language.every(1, "hours")
        parts[-1] = language.of_every_hour.format(parts[-1])
    return ", ".join(parts)


def _every_or_at(values: Sequence[int], size: int, unit: str, at: tuple[str, str], language: Language) -> str:
    step = _step_of(values, size)
    if step is not None:
        return language.every(step, unit)
    return at[len(values) > 1].format(_numbers(values, language))


def _hours_in_words(hours: Sequence[int], language: Language) -> str:
    step = _step_of(hours, 24)
    if step is not None:
        return language.every(step, "hours")
    run = _cyclic_run(hours, 24)
    if run is not None:
        return language.between.format(f"{run[0]:02}:00", f"{run[1]:02}:59")
    return language.in_hours[len(hours) > 1].format(_numbers(hours, language))


def _days_in_words(expression: CronExpression, language: Language) -> str:
    """Returns on which days it runs, or nothing for every day."""
    by_month_day = _month_days(expression, language)
    by_weekday = _weekdays_of(expression, language)
    every_month_day = set(_ALL_MONTH_DAYS) <= set(expression.month_days)
    every_weekday = len(expression.weekdays) == 7
    if every_month_day and every_weekday:
        return ""
    if not expression.both_days_must_match:
        if every_month_day or every_weekday:
            return ""
        return language.or_on.format(by_month_day, by_weekday)
    if every_month_day:
        return by_weekday
    if every_weekday:
        return by_month_day
    return language.but_only.format(by_month_day, by_weekday)


def _month_days(expression: CronExpression, language: Language) -> str:
    parts = []
    plain = [day for day in expression.month_days if day > 0]
    if plain:
        parts.append(language.month_days[len(plain) > 1].format(_numbers(plain, language)))
    parts += [_from_the_end(-day, language) for day in sorted(expression.month_days, reverse=True) if day <= 0]
    for day in expression.nearest_weekdays:
        if day == 0:
            parts.append(language.last_workday)
        elif day > 0:
            parts.append(language.nearest_workday.format(day))
        else:
            parts.append(language.nearest_to_before_last.format(_from_the_end(-day, language)))
    return language.on.format(language.join(parts))


def _from_the_end(days: int, language: Language) -> str:
    return language.last_day if days == 0 else language.before_last_day[days != 1].format(days)


def _weekdays_of(expression: CronExpression, language: Language) -> str:
    nth = [
        language.nth_weekday.format(language.ordinals[-1 if number == LAST else number - 1], language.weekdays[weekday])
        for weekday, number in expression.nth_weekdays
    ]
    if not nth:
        return _weekdays(expression.weekdays, language)
    plain = [_weekday_names(expression.weekdays, language)] if expression.weekdays else []
    return language.on.format(language.join([*plain, *nth]))


def _weekdays(weekdays: Sequence[int], language: Language) -> str:
    run = _cyclic_run(sorted(weekdays), 7) if len(weekdays) > 2 else None
    if run is not None:
        return language.weekday_range.format(language.weekdays[run[0]], language.weekdays[run[1]])
    return language.on.format(_weekday_names(weekdays, language))


def _weekday_names(weekdays: Sequence[int], language: Language) -> str:
    """Returns the names of weekdays, Monday first."""
    names = [language.weekdays[day] for day in sorted(weekdays, key=lambda day: (day - 1) % 7)]
    return language.weekdays_of[len(names) > 1].format(language.join(names))


def _months_in_words(months: Sequence[int], language: Language) -> str:
    run = _cyclic_run([month - 1 for month in months], 12) if len(months) > 2 else None
    if run is not None:
        return language.month_range.format(language.months[run[0]], language.months[run[1]])
    return language.in_months.format(language.join([language.months[month - 1] for month in months]))


def _step_of(values: Sequence[int], size: int) -> int | None:
    """Returns n if the values are every nth one of the whole field, from 0 on, without a shorter last step."""
    if len(values) < 2:
        return None
    step = values[1] - values[0]
    return step if size % step == 0 and list(values) == list(range(0, size, step)) else None


def _cyclic_run(values: Sequence[int], size: int) -> tuple[int, int] | None:
    """Returns the first and last of values that follow each other, also across the end, or None."""
    if len(values) < 2 or len(values) == size:
        return None
    starts = [value for value in values if (value - 1) % size not in values]
    return (starts[0], (starts[0] + len(values) - 1) % size) if len(starts) == 1 else None


def _numbers(values: Sequence[int], language: Language) -> str:
    """Returns numbers as a list with ranges, such as "1, 5 to 9 and 12"."""
    runs: list[list[int]] = []
    for value in values:
        if runs and value == runs[-1][-1] + 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    parts = []
    for run in runs:
        parts += [f"{run[0]}–{run[-1]}"] if len(run) > 2 else [str(value) for value in run]
    return language.join(parts)


def _time(second: int, *, shows_seconds: bool = False) -> str:
    minute, second = divmod(second, 60)
    return f"{minute // 60:02}:{minute % 60:02}" + (f":{second:02}" if second or shows_seconds else "")
