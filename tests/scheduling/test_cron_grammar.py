from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice

import pytest

from scheduling.cron_grammar import join_expressions, parse_cron, parse_expression, split_expressions
from scheduling.recurrence import Recurrence, next_slot, slots

EVERY_MINUTE = tuple(range(60))
EVERY_HOUR = tuple(range(24))


@pytest.mark.parametrize(
    ("expression", "minutes", "hours"),
    [
        ("* * * * *", EVERY_MINUTE, EVERY_HOUR),
        ("0 9-9 * * *", (0,), (9,)),
        ("5-5/1 * * * *", (5,), EVERY_HOUR),
        ("59,0,30,0 23,1 * * *", (0, 30, 59), (1, 23)),
        ("*/20 */12 * * *", (0, 20, 40), (0, 12)),
        ("5-59/15 0-20/10 * * *", (5, 20, 35, 50), (0, 10, 20)),
        ("*/60 */24 * * *", (0,), (0,)),
        ("0-3,2-5,*/30 0 * * *", (0, 1, 2, 3, 4, 5, 30), (0,)),
        ("007 08 * * *", (7,), (8,)),
        ("  15\t3  *  * * ", (15,), (3,)),
        ("@hourly", (0,), EVERY_HOUR),
        ("5/15 20/2 * * *", (5, 20, 35, 50), (20, 22)),
        ("45/30 0/12 * * *", (45,), (0, 12)),
        ("58-2 22-2 * * *", (0, 1, 2, 58, 59), (0, 1, 2, 22, 23)),
        ("50-10/7 20-4/3 * * *", (4, 50, 57), (2, 20, 23)),
        ("30-29 1-0 * * *", EVERY_MINUTE, EVERY_HOUR),
        ("TZ=Europe/Berlin 0 9 * * *", (0,), (9,)),
        ("cron_tz=utc\t0 9 * * *", (0,), (9,)),
    ],
)
def test_hour_and_minute_fields_have_the_meaning_of_cron(
    expression: str, minutes: tuple[int, ...], hours: tuple[int, ...]
) -> None:
    parsed = parse_expression(expression)
    assert (parsed.seconds, parsed.minutes, parsed.hours) == ((0,), minutes, hours)


@pytest.mark.parametrize(
    ("fields", "month_days", "months", "weekdays"),
    [
        ("1,15 * *", {1, 15}, set(range(1, 13)), set(range(7))),
        ("* jan,MAR-May *", set(range(1, 32)), {1, 3, 4, 5}, set(range(7))),
        ("*/10 */5 *", {1, 11, 21, 31}, {1, 6, 11}, set(range(7))),
        ("* * 7", set(range(1, 32)), set(range(1, 13)), {0}),
        ("* * 0-7", set(range(1, 32)), set(range(1, 13)), set(range(7))),
        ("* * 5-7", set(range(1, 32)), set(range(1, 13)), {5, 6, 0}),
        ("* * 1-7/3", set(range(1, 32)), set(range(1, 13)), {1, 4, 0}),
        ("* * */2", set(range(1, 32)), set(range(1, 13)), {0, 2, 4, 6}),
        ("* * 7-7", set(range(1, 32)), set(range(1, 13)), {0}),
        ("* * Mon-fri/2,SUN", set(range(1, 32)), set(range(1, 13)), {1, 3, 5, 0}),
        ("? * ?", set(range(1, 32)), set(range(1, 13)), set(range(7))),
        ("25-5/3 nov-FEB FRI-MON", {25, 28, 31, 3}, {11, 12, 1, 2}, {5, 6, 0, 1}),
        ("* * FRI-SUN", set(range(1, 32)), set(range(1, 13)), {5, 6, 0}),
        ("* * 7-2", set(range(1, 32)), set(range(1, 13)), {0, 1, 2}),
        ("* * 6-5", set(range(1, 32)), set(range(1, 13)), set(range(7))),
        ("20/5 6/3 3/2", {20, 25, 30}, {6, 9, 12}, {3, 5}),
        ("* * 7/3", set(range(1, 32)), set(range(1, 13)), {0, 3, 6}),
    ],
)
def test_day_and_month_fields_have_the_meaning_of_cron(
    fields: str, month_days: set[int], months: set[int], weekdays: set[int]
) -> None:
    parsed = parse_expression(f"0 0 {fields}")
    found = (set(parsed.month_days), set(parsed.months), set(parsed.weekdays))
    assert found == (month_days, months, weekdays)


@pytest.mark.parametrize(
    ("macro", "fields"),
    [
        ("@hourly", "0 * * * *"),
        ("@daily", "0 0 * * *"),
        ("@midnight", "0 0 * * *"),
        ("@weekly", "0 0 * * 0"),
        ("@monthly", "0 0 1 * *"),
        ("@yearly", "0 0 1 1 *"),
        ("@annually", "0 0 1 1 *"),
    ],
)
def test_a_macro_equals_its_fields(macro: str, fields: str) -> None:
    assert parse_expression(macro) == parse_expression(macro.upper()) == parse_expression(fields)
    assert parse_expression(macro.title(), seconds=True) == parse_expression(f"0 {fields}", seconds=True)


def test_seconds_come_first_if_they_are_enabled() -> None:
    parsed = parse_expression("*/15 30 2 * * *", seconds=True)
    assert (parsed.seconds, parsed.minutes, parsed.hours) == ((0, 15, 30, 45), (30,), (2,))


@pytest.mark.parametrize(
    ("expression", "seconds", "follows"),
    [
        ("* 2 * * *", False, True),
        ("*/15 2 * * *", False, True),
        ("*,5 2 * * *", False, True),
        ("30 * * * *", False, True),
        ("30 */2 * * *", False, True),
        ("0-59 0-23 * * *", False, False),
        ("5,* 2 * * *", False, False),
        ("30 2 * * *", False, False),
        ("0 30 2 * * *", True, False),
        ("* 30 2 * * *", True, True),
        ("0 * 2 * * *", True, True),
        ("0 30 * * * *", True, True),
        ("0/15 2 * * *", False, False),
        ("H/15 2 * * *", False, False),
    ],
)
def test_a_star_at_the_start_of_the_hour_or_minute_makes_an_expression_follow_real_time(
    expression: str, seconds: bool, follows: bool
) -> None:
    assert parse_expression(expression, seconds=seconds).follows_real_time is follows


@pytest.mark.parametrize(
    ("fields", "days"),
    [
        ("13 * 5", (6, 13, 20, 27)),
        ("*/2 * 1", (9, 23)),
        ("1-7 * */6", (1, 7)),
        ("*,1 * 1", (2, 9, 16, 23, 30)),
        ("1,* * 1", tuple(range(1, 32))),
        ("L * 1", (2, 9, 16, 23, 30, 31)),
        ("* * 5#2", (13,)),
        ("1 * 5#2", (1, 13)),
        ("* * 0#5,1#5,2#5,3#5", (29, 30, 31)),
        ("L * *", (31,)),
        ("15,L * *", (15, 31)),
        ("L * */6", ()),
        ("? * 5#2", (13,)),
        ("13 * ?", (13,)),
        ("LW * 0", (1, 8, 15, 22, 29, 31)),
        ("15W * 5L", (16, 27)),
        ("*/2 * 5L", (27,)),
        ("L-3 * 1#1", (2, 28)),
    ],
)
def test_day_of_month_and_day_of_week_combine_as_in_vixie_cron(fields: str, days: tuple[int, ...]) -> None:
    """March 2026 begins on a Sunday, so only Sunday, Monday and Tuesday occur five times."""
    assert parse_expression(f"0 0 {fields}").days_in(2026, 3) == days


@pytest.mark.parametrize(
    ("fields", "first"),
    [
        ("29 2 *", "2028-02-29"),
        ("L 2 *", "2027-02-28"),
        ("*/28 2 1", "2027-02-01"),
        ("*/31 2 1", "2027-02-01"),
        ("* 2 1#5", "2044-02-29"),
        ("* 2 0#5", "2032-02-29"),
        ("31 2 1", "2027-02-01"),
        ("30 2 1#5", "2044-02-29"),
        ("30,L 2 *", "2027-02-28"),
        ("29W 2 *", "2028-02-29"),
        ("L-28 2 *", "2028-02-01"),
        ("*/31,L 2 1#4", "2033-02-28"),
    ],
)
def test_a_rare_expression_is_accepted(fields: str, first: str) -> None:
    start = datetime(2026, 11, 21, 12, tzinfo=UTC)
    slot = next_slot(Recurrence("UTC", start, f"0 0 {fields}"), after=start)
    assert slot == datetime.fromisoformat(first).replace(tzinfo=UTC)


@pytest.mark.parametrize("weekday", range(7))
def test_a_leap_day_on_one_weekday_is_found_across_the_year_2100(weekday: int) -> None:
    start = datetime(2072, 3, 1, tzinfo=UTC)
    found = list(islice(slots(Recurrence("UTC", start, f"0 0 * 2 {weekday}#5"), after=start), 3))
    assert [slot.isoweekday() % 7 for slot in found] == [weekday] * 3
    assert all((slot.month, slot.day) == (2, 29) for slot in found)
    assert max(b.year - a.year for a, b in zip([start, *found], found, strict=False)) <= 40


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("0 9 * * *", "00 09 * * *"),
        ("0 9 * * MON,TUE", "0\t9-9 * *  2,1"),
        ("@weekly", "0 0 * * SUN"),
        ("0 0 L,15 * 5#2", "0 0 15,L,15 * FRI#2"),
        ("0 0 LW * 5L", "0 0 lw * fril"),
        ("0 0 L * *", "0 0 L-0 * ?"),
        ("5/15 * * * *", "5-59/15 * * * *"),
        ("0 22-1 * * *", "0 22,23,0,1 * * *"),
        ("TZ=UTC 0 9 * * *", "0 9 * * *"),
    ],
)
def test_expressions_with_the_same_fields_are_equal(one: str, other: str) -> None:
    assert parse_expression(one) == parse_expression(other)
    assert hash(parse_expression(one)) == hash(parse_expression(other))


@pytest.mark.parametrize("other", ["0-59 9 * * *", "* 9 * * 1", "* 9 1 * *", "* 9 * 1 *", "* 8 * * *"])
def test_expressions_that_fire_at_different_times_are_not_equal(other: str) -> None:
    """A range over the whole field is not a star, so the expression does not follow real time."""
    assert parse_expression("* 9 * * *") != parse_expression(other)


def test_several_expressions_are_equal_in_any_order_and_number() -> None:
    one = join_expressions(["0 9 * * *", "0 17 * * *", "00 09 * * *"])
    other = join_expressions(["0 17-17 * * *", "0 9 * * *"])
    assert parse_cron(one) == parse_cron(other)
    assert parse_cron(join_expressions(["0 9 * * *", "0 09 * * *"])) == parse_cron("0 9 * * *")
    assert parse_cron(one) != parse_cron("0 9 * * *")


@pytest.mark.parametrize("expressions", [[], ["0 9 * * *"], ["0 9 * * *", "@daily"]])
def test_joined_expressions_can_be_split_again(expressions: list[str]) -> None:
    assert split_expressions(join_expressions(expressions)) == expressions


def test_a_single_expression_is_split_too() -> None:
    assert split_expressions("0 9 * * *") == ["0 9 * * *"]
