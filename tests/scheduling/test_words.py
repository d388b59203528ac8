"""Rules in words, in English and Spanish."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings

from commands_platform.lib.zones import use_packaged_zones
from scheduling.cron_grammar import join_expressions
from scheduling.every import read_every
from scheduling.languages import ENGLISH, LANGUAGES, SPANISH, language_for
from scheduling.recurrence import Recurrence
from scheduling.words import describe
from tests.scheduling.expressions import Expression, expressions

use_packaged_zones()

START = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)


def in_words(cron: str = "", **rule: Any) -> tuple[str, str]:
    recurrence = Recurrence("Europe/Berlin", START, cron, **rule)
    return describe(recurrence, ENGLISH), describe(recurrence, SPANISH)


@pytest.mark.parametrize(
    ("cron", "english", "spanish"),
    [
        ("0 9 * * MON-FRI", "At 09:00, Monday to Friday", "A las 09:00, de lunes a viernes"),
        ("0 9 * * FRI-MON", "At 09:00, Friday to Monday", "A las 09:00, de viernes a lunes"),
        ("30 9,17 * * *", "At 09:30 and 17:30", "A las 09:30 y 17:30"),
        ("@daily", "At 00:00", "A las 00:00"),
        ("@hourly", "Every hour", "Cada hora"),
        ("* * * * *", "Every minute", "Cada minuto"),
        ("*/5 * * * *", "Every 5 minutes", "Cada 5 minutos"),
        ("5/15 * * * *", "At minutes 5, 20, 35 and 50 of every hour", "En los minutos 5, 20, 35 y 50 de cada hora"),
        (
            "*/10 9-17 * * *",
            "Every 10 minutes, between 09:00 and 17:59",
            "Cada 10 minutos, entre las 09:00 y las 17:59",
        ),
        ("0 22-2/1 * * *", "At 00:00, 01:00, 02:00, 22:00 and 23:00", "A las 00:00, 01:00, 02:00, 22:00 y 23:00"),
        (
            "*/30 22-2 * * *",
            "Every 30 minutes, between 22:00 and 02:59",
            "Cada 30 minutos, entre las 22:00 y las 02:59",
        ),
        ("0 */2 * * *", "At minute 0, every 2 hours", "En el minuto 0, cada 2 horas"),
        (
            "0-20,40 8,12 * * *",
            "At minutes 0–20 and 40, in hours 8 and 12",
            "En los minutos 0–20 y 40, en las horas 8 y 12",
        ),
        ("0 9 1 * *", "At 09:00, on day 1 of the month", "A las 09:00, el día 1 del mes"),
        ("0 9 1,15 * *", "At 09:00, on days 1 and 15 of the month", "A las 09:00, los días 1 y 15 del mes"),
        ("0 9 L * *", "At 09:00, on the last day of the month", "A las 09:00, el último día del mes"),
        (
            "0 9 L,L-3 * *",
            "At 09:00, on the last day of the month and 3 days before the last day of the month",
            "A las 09:00, el último día del mes y 3 días antes del último día del mes",
        ),
        ("0 9 LW * *", "At 09:00, on the last weekday of the month", "A las 09:00, el último día laborable del mes"),
        (
            "0 9 1W,15W * *",
            "At 09:00, on the weekday nearest to day 1 and the weekday nearest to day 15",
            "A las 09:00, el día laborable más cercano al día 1 y el día laborable más cercano al día 15",
        ),
        ("0 9 * * 5L", "At 09:00, on the last Friday of the month", "A las 09:00, el último viernes del mes"),
        (
            "0 9 * * MON#2,WED",
            "At 09:00, on Wednesday and the second Monday of the month",
            "A las 09:00, el miércoles y el segundo lunes del mes",
        ),
        ("0 9 * * SUN,THU", "At 09:00, on Thursday and Sunday", "A las 09:00, los días jueves y domingo"),
        (
            "0 9 1 * MON",
            "At 09:00, on day 1 of the month or on Monday",
            "A las 09:00, el día 1 del mes o el lunes",
        ),
        (
            "0 9 */10 * MON",
            "At 09:00, on days 1, 11, 21 and 31 of the month, but only on Monday",
            "A las 09:00, los días 1, 11, 21 y 31 del mes, pero solo el lunes",
        ),
        ("0 9 * JAN,MAR *", "At 09:00, in January and March", "A las 09:00, en enero y marzo"),
        ("0 0 1 11-2 *", "At 00:00, on day 1 of the month, from November to February", ""),
        ("0 9 * * 0-6", "At 09:00", "A las 09:00"),
    ],
)
def test_cron_expressions_are_described(cron: str, english: str, spanish: str) -> None:
    found = in_words(cron)
    assert found[0] == english
    assert not spanish or found[1] == spanish


def test_seconds_are_described() -> None:
    assert in_words("*/20 30 9 * * *", cron_seconds=True)[0] == "At 09:30:00, 09:30:20 and 09:30:40"
    assert in_words("*/20 * * * * *", cron_seconds=True)[0] == "Every 20 seconds"
    assert in_words("30 * * * * *", cron_seconds=True)[0] == "At second 30, every minute"
    assert in_words("* * * * * *", cron_seconds=True)[0] == "Every second"


def test_several_expressions_are_described_one_by_one() -> None:
    several = join_expressions(["0 9 * * MON-FRI", "0 11 * * SAT", "0 11 * * 6"])
    assert in_words(several)[0] == "At 09:00, Monday to Friday; at 11:00, on Saturday"


def test_a_hashed_value_is_the_one_of_the_schedule() -> None:
    assert in_words("H 9 * * *", seed="a")[0] != in_words("H 9 * * *", seed="b")[0]


@pytest.mark.parametrize(
    ("given", "english", "spanish"),
    [
        ({"days": 1, "at": "09:00"}, "Every day, at 09:00", "Cada día, a las 09:00"),
        ({"days": 14, "at": "09:00:30"}, "Every 14 days, at 09:00:30", "Cada 14 días, a las 09:00:30"),
        (
            {"weeks": 2, "on": ["MON", "THU"], "at": "09:00"},
            "Every 2 weeks, on Monday and Thursday, at 09:00",
            "Cada 2 semanas, los días lunes y jueves, a las 09:00",
        ),
        (
            {"weeks": 1, "on": ["SAT", "SUN", "MON"], "at": "09:00"},
            "Every week, Saturday to Monday, at 09:00",
            "Cada semana, de sábado a lunes, a las 09:00",
        ),
        (
            {"months": 3, "on_day": 1, "at": "18:00"},
            "Every 3 months, on day 1 of the month, at 18:00",
            "Cada 3 meses, el día 1 del mes, a las 18:00",
        ),
        (
            {"months": 1, "on_day": 31, "at": "18:00"},
            "Every month, on the last day of the month, at 18:00",
            "Cada mes, el último día del mes, a las 18:00",
        ),
        (
            {"months": 1, "on_day": 30, "at": "18:00"},
            "Every month, on day 30 or the last day of the month, at 18:00",
            "Cada mes, el día 30 o el último día del mes, a las 18:00",
        ),
    ],
)
def test_periods_on_the_wall_clock_are_described(given: dict[str, Any], english: str, spanish: str) -> None:
    assert in_words(every=read_every(given)) == (english, spanish)


@pytest.mark.parametrize(
    ("period", "english", "spanish"),
    [
        (timedelta(seconds=1), "Every second", "Cada segundo"),
        (timedelta(minutes=5), "Every 5 minutes", "Cada 5 minutos"),
        (timedelta(hours=1), "Every hour", "Cada hora"),
        (timedelta(minutes=90), "Every 1 hour and 30 minutes", "Cada 1 hora y 30 minutos"),
        (timedelta(days=1, seconds=5), "Every 1 day and 5 seconds", "Cada 1 día y 5 segundos"),
    ],
)
def test_periods_are_described(period: timedelta, english: str, spanish: str) -> None:
    assert in_words(period=period) == (english, spanish)


def test_a_single_run_is_described_in_its_zone() -> None:
    assert in_words() == ("Once, on 2026-03-01 at 09:00", "Una vez, el 2026-03-01 a las 09:00")


@settings(max_examples=150, deadline=None)
@given(expressions())
def test_every_expression_can_be_described(expression: Expression) -> None:
    expression.parse_or_reject()
    for language in LANGUAGES.values():
        text = describe(Recurrence("UTC", START, expression.text), language)
        assert text[0].isupper()
        assert "{" not in text


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("", "en"),
        ("es", "es"),
        ("es-MX,es;q=0.9,en;q=0.8", "es"),
        ("de,en;q=0.5,es;q=0.9", "es"),
        ("de", "en"),
        ("es;q=0", "en"),
        ("*", "en"),
        ("x" * 10_000, "en"),
        ("es;q=nonsense", "en"),
    ],
)
def test_the_language_is_the_preferred_one_that_is_known(header: str, code: str) -> None:
    assert language_for(header).code == code
