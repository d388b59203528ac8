from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from scheduling.cron_grammar import (
    MAX_EXPRESSION_LENGTH,
    MAX_EXPRESSIONS,
    join_expressions,
    parse_cron,
    parse_expression,
)
from scheduling.errors import InvalidCronError
from scheduling.recurrence import Recurrence, next_slot


@pytest.mark.parametrize(
    ("expression", "field", "position", "reason"),
    [
        ("60 * * * *", "minute", 1, "60 is not between 0 and 59"),
        ("0 24 * * *", "hour", 3, "24 is not between 0 and 23"),
        ("0 0 0 * *", "day-of-month", 5, "0 is not between 1 and 31"),
        ("0 0 32 * *", "day-of-month", 5, "32 is not between 1 and 31"),
        ("0 0 * 13 *", "month", 7, "13 is not between 1 and 12"),
        ("0 0 * 0 *", "month", 7, "0 is not between 1 and 12"),
        ("0 0 * * 8", "day-of-week", 9, "8 is not between 0 and 7"),
        ("0 0 * * 1,9", "day-of-week", 11, "9 is not between 0 and 7"),
        ("0  0\t* * 5-9", "day-of-week", 12, "9 is not between 0 and 7"),
        ("*/0 * * * *", "minute", 3, "the step must be 1 to 60 here, not 0"),
        ("*/90 * * * *", "minute", 3, "a step is at most 60 here; for a period of 5,400 seconds write '@every 90m'"),
        ("0/120 * * * *", "minute", 3, "for a period of 7,200 seconds write '@every 120m'"),
        ("H/61 * * * *", "minute", 3, "for a period of 3,660 seconds write '@every 61m'"),
        ("0 */36 * * *", "hour", 5, "a step is at most 24 here; for a period of 129,600 seconds write '@every 36h'"),
        ("0 0 */32 * *", "day-of-month", 7, "the step must be 1 to 31 here, not 32"),
        ("0 0 * */13 *", "month", 9, "the step must be 1 to 12 here, not 13"),
        ("0 0 * * */8", "day-of-week", 11, "the step must be 1 to 7 here, not 8"),
        ("22-2/42 * * * *", "minute", 6, "the step must be 1 to 41 here, not 42"),
        ("0 22-2/6 * * *", "hour", 8, "the step must be 1 to 5 here, not 6"),
        ("10-20/12 * * * *", "minute", 7, "the step must be 1 to 11 here, not 12"),
        ("5-5/2 * * * *", "minute", 5, "the step must be 1 to 1 here"),
        ("*/ * * * *", "minute", 3, "the step after / is missing"),
        ("*/-5 * * * *", "minute", 3, "a step is a number, not '-5'"),
        ("*/5/2 * * * *", "minute", 3, "a step is a number, not '5/2'"),
        ("0 0 * */JAN *", "month", 9, "a step is a number, not 'JAN'"),
        ("1,,2 * * * *", "minute", 3, "a value is missing"),
        ("1, * * * *", "minute", 3, "a value is missing"),
        (",1 * * * *", "minute", 1, "a value is missing"),
        ("-5 * * * *", "minute", 1, "a value is missing"),
        ("5- * * * *", "minute", 3, "a value is missing"),
        ("1-2-3 * * * *", "minute", 3, "'2-3' is not a number"),
        ("*-5 * * * *", "minute", 1, "'*' is not a number"),
        ("** * * * *", "minute", 1, "'**' is not a number"),
        ("1.5 * * * *", "minute", 1, "'1.5' is not a number"),
        ("+5 * * * *", "minute", 1, "'+5' is not a number"),
        ("1_0 * * * *", "minute", 1, "'1_0' is not a number"),
        ("0x1 * * * *", "minute", 1, "'0x1' is not a number"),
        ("MON * * * *", "minute", 1, "'MON' is not a number from 0 to 59"),
        ("0 0 * MON *", "month", 7, "'MON' is not a number from 1 to 12 or a name like JAN"),
        ("0 0 * * MONDAY", "day-of-week", 9, "'MONDAY' is not a number from 0 to 7 or a name like SUN"),
        ("R * * * *", "minute", 1, "there are no random values, but H stays the same for one schedule"),
        ("R(0-30) * * * *", "minute", 1, "'R(0' is not a number"),
        ("H(5) * * * *", "minute", 3, "H takes a range in its parentheses, like H(0-59)"),
        ("H() * * * *", "minute", 3, "H takes a range in its parentheses"),
        ("H(0-60) * * * *", "minute", 5, "60 is not between 0 and 59"),
        ("H(0-29 * * * *", "minute", 1, "'H(0' is not a number from 0 to 59; H takes a range in parentheses"),
        ("H-5 * * * *", "minute", 1, "'H' is not a number from 0 to 59; H takes"),
        ("H(0-9)/11 * * * *", "minute", 8, "the step must be 1 to 10 here, not 11"),
        ("0 0 H(1-31) * *", "day-of-month", 9, "not between 1 and 28 (H takes only days that every month has)"),
        ("0 0 H/29 * *", "day-of-month", 7, "the step must be 1 to 28 here, not 29"),
        ("? * * * *", "minute", 1, "? must be alone in the day-of-month or day-of-week field; elsewhere use *"),
        ("0 0 ?,5 * 1", "day-of-month", 5, "? must be alone"),
        ("0 0 * * ?/2", "day-of-week", 9, "? must be alone"),
        ("15W * * * *", "minute", 1, "W belongs in the day-of-month field, after one day"),
        ("0 0 W * *", "day-of-month", 5, "'W' is not a number from 1 to 31; W belongs"),
        ("0 0 WL * *", "day-of-month", 5, "'WL' is not a number"),
        ("0 0 1-15W * *", "day-of-month", 7, "'15W' is not a number"),
        ("0 0 32W * *", "day-of-month", 5, "32 is not between 1 and 31"),
        ("0 0 15W/2 * *", "day-of-month", 8, "15W is one day and takes no step"),
        ("0 0 L-31 * *", "day-of-month", 5, "L-31 is before the start of every month. Use L-30 or less"),
        ("0 0 L- * *", "day-of-month", 5, "'L' is not a number"),
        ("0 0 1-L * *", "day-of-month", 7, "'L' is not a number"),
        ("0 0 L/2 * *", "day-of-month", 6, "L is one day and takes no step"),
        ("0 L * * *", "hour", 3, "L is the last day in the day-of-month field, and 5L the last Friday"),
        ("0 0 * * L", "day-of-week", 9, "L needs its day here: 5L is the last Friday of the month"),
        ("0 0 * * L5", "day-of-week", 9, "'L5' is not a number"),
        ("0 0 * * 8L", "day-of-week", 9, "8 is not between 0 and 7"),
        ("0 0 * * 5L/2", "day-of-week", 11, "5L is one day and takes no step"),
        ("0 0 1#2 * *", "day-of-month", 5, "# belongs in the day-of-week field, after one day"),
        ("0 0 * * 5#6", "day-of-week", 11, "the number after # is 1 to 5, not '6'; the last Friday of the month is 5L"),
        ("0 0 * * 5#0", "day-of-week", 11, "the number after # is 1 to 5"),
        ("0 0 * * 5#", "day-of-week", 11, "the number after # is 1 to 5, not ''"),
        ("0 0 * * #2", "day-of-week", 9, "a value is missing"),
        ("0 0 * * 8#2", "day-of-week", 9, "8 is not between 0 and 7"),
        ("0 0 * * 1-5#2", "day-of-week", 9, "'1-5' is not a number"),
        ("0 0 * * MON-FRI#2", "day-of-week", 9, "'MON-FRI' is not a number from 0 to 7 or a name like SUN."),
        ("0 0 * * FRIDAY-THU", "day-of-week", 9, "'FRIDAY' is not a number from 0 to 7 or a name like SUN."),
        ("0 0 * FRI *", "month", 7, "'FRI' is not a number from 1 to 12 or a name like JAN."),
        ("0 0 * * *#2", "day-of-week", 9, "'*' is not a number"),
        ("0 0 * * 1#2#3", "day-of-week", 11, "not '2#3'"),
        ("@reboot", None, 1, "@reboot has no meaning here. Leave out cron and execution_frequency for one run at once"),
        ("@Every 5m", None, 1, "@every stands for a period and must be the only expression"),
        ("@dailyy", None, 1, "@dailyy is not one of @hourly, @daily"),
        ("@daily 5", None, 8, "nothing may follow @daily"),
        ("TZ=Mars/Olympus 0 9 * * *", None, 4, "'Mars/Olympus' is not a time zone"),
        (" CRON_TZ= 0 9 * * *", None, 10, "'' is not a time zone"),
        ("TZ=UTC", None, 7, "5 fields are needed"),
        ("0 9 * * * TZ=UTC", None, 11, "TZ= must come before the fields"),
        ("TZ=UTC 0 61 * * *", "hour", 10, "61 is not between 0 and 23"),
        ("", None, 1, "5 fields are needed (minute, hour, day-of-month, month, day-of-week), not 0"),
        ("* * * *", None, 8, "5 fields are needed"),
        ("0 * * * * *", None, 11, "not 6. Six fields, the seconds first, need cron_seconds: true"),
        ("0 0 0 * * * 2027", None, 11, "not 7. There is no field for years: starts_at and ends_at limit them"),
        ("0 0 * *\n*", None, 8, "character U+000A is not allowed in a cron expression"),
        ("0\u00a00 * * *", None, 2, "character U+00A0 is not allowed in a cron expression"),
        ("٣ * * * *", None, 1, "character U+0663 is not allowed in a cron expression"),
        ("０ 0 * * *", None, 1, "character U+FF10 is not allowed in a cron expression"),
        ("0 0 * * \x00", None, 9, "character U+0000 is not allowed in a cron expression"),
        ("0 0 * * \ud800", None, 9, "character U+D800 is not allowed in a cron expression"),
        ("9" * 200 + " * * * *", "minute", 1, "99999999999999999999… is not between 0 and 59"),
        ("*/" + "9" * 200 + " * * * *", "minute", 3, "not 99999999999999999999…"),
        ("x" * 200 + " * * * *", "minute", 1, "'xxxxxxxxxxxxxxxxxxxx…' is not a number"),
    ],
)
def test_a_refusal_says_what_is_wrong_and_where(expression: str, field: str | None, position: int, reason: str) -> None:
    with pytest.raises(InvalidCronError) as caught:
        parse_expression(expression)
    error = caught.value
    assert reason in error.message
    assert (error.field, error.position) == (field, position)
    assert f"haracter {position}: " in error.message
    assert field is None or error.message.lower().startswith(f"{field} field, ")
    assert error.code == "params_validation_error"
    assert error.errors == {"cron": [error.message]}


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("* * * * *", "6 fields are needed (second, minute, "),
        ("* * * * *", "not 5. Five fields need cron_seconds: false."),
        ("*/90 * * * * *", "for a period of 90 seconds write '@every 90s'"),
        ("* * * * * * *", "not 7. There is no field for years"),
        ("60 * * * * *", "Second field, character 1: 60 is not between 0 and 59"),
        ("0 60 * * * *", "Minute field, character 3: 60 is not between 0 and 59"),
    ],
)
def test_an_expression_with_seconds_has_six_fields(expression: str, reason: str) -> None:
    with pytest.raises(InvalidCronError) as caught:
        parse_expression(expression, seconds=True)
    assert reason in caught.value.message


@pytest.mark.parametrize("expression", [None, 5, b"* * * * *", ["* * * * *"]])
def test_an_expression_that_is_not_a_string_is_refused(expression: object) -> None:
    with pytest.raises(InvalidCronError, match="a string"):
        parse_expression(expression)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "fields",
    [
        "30 2 *",
        "31 2,4,6,9,11 *",
        "30,31 2 *",
        "30-31 FEB */2",
        "31 4 */3",
        "31 2-2 *",
        "30 2 *,1",
        "31 11 *",
        "31W 2,4 *",
        "L-29 2 *",
        "L-30 4 *",
        "30 H *",
        "31 H(4-6) *",
        "30 2 */2,1#5",
    ],
)
def test_an_expression_that_can_never_fire_is_refused(fields: str) -> None:
    with pytest.raises(InvalidCronError, match="would never fire") as caught:
        parse_expression(f"0 0 {fields}")
    assert (caught.value.field, caught.value.position) == ("day-of-month", 5)


def test_an_expression_has_at_most_255_characters() -> None:
    longest = "0,1 * * * *".ljust(MAX_EXPRESSION_LENGTH)
    assert parse_expression(longest).minutes == (0, 1)
    with pytest.raises(InvalidCronError, match="at most 255 characters, not 256"):
        parse_expression(longest + " ")


ADVERSARIAL = [
    ",".join(["*"] * 124) + " * * * *",
    ",".join(["0-59"] * 49) + " * * * *",
    ",".join(["0-59/1"] * 34) + " * * * *",
    "* " * 4 + ",".join(["0-7"] * 61),
    "0 0 * * " + ",".join(f"{day}#{nth}" for day in range(8) for nth in range(1, 6))[:240].rsplit(",", 1)[0],
    "0 0 30-31,30-31,30-31,30-31,30-31 2,2,2,2,2,2,2,2 *",
    "0 0 * 2 0#5,1#5",
    "1" * 250,
    "-" * 250,
    "/" * 250,
    "#" * 240 + " * * * 1",
    "0 0 * * " + "1#" * 120,
    "0 0 * * " + "SUN" * 80,
    "(" * 255,
    "@" * 255,
    " " * 255,
    "\t" * 255,
    "0 0 " + ",".join(f"{day}W" for day in range(1, 32)) + " 2 " + ",".join(f"{day}L" for day in range(7)),
    ",".join(["H(59-58)/1"] * 20) + " * * H *",
    "0 0 30 " + ",".join(["H(1-12)"] * 28) + " *",
    "TZ=" + "A/" * 120 + " * * * * *",
    join_expressions(["0-59/1,1-58/1 0-23 1W,2W,3W,L-1W * 1#1,2L"] * MAX_EXPRESSIONS),
    join_expressions([f"{minute} {minute} {minute + 1}W 2 {minute % 7}#5" for minute in range(MAX_EXPRESSIONS)]),
]


@pytest.mark.parametrize("expression", ADVERSARIAL)
def test_a_hostile_expression_costs_few_operations(expression: str) -> None:
    start = datetime(2072, 3, 1, tzinfo=UTC)
    next_slot(Recurrence("UTC", start, "* * * * *"), after=start)
    parse_cron.cache_clear()

    def ask() -> None:
        try:
            next_slot(Recurrence("UTC", start, expression), after=start)
        except InvalidCronError:
            return

    # Sixteen expressions cost sixteen times as much.
    assert count_calls(ask) < 20_000 * len(expression.splitlines())


def test_there_are_at_most_sixteen_expressions() -> None:
    expressions = [f"{minute} * * * *" for minute in range(17)]
    assert parse_cron(join_expressions(expressions[:16]))
    with pytest.raises(InvalidCronError, match="There may be 16 expressions at most, not 17"):
        parse_cron(join_expressions(expressions))


@pytest.mark.parametrize(
    ("expressions", "message"),
    [
        (["0 9 * * *", "0 24 * * *"], "Expression 2, hour field, character 3: 24 is not between 0 and 23."),
        (["", "0 9 * * *"], "Expression 1, character 1: 5 fields are needed"),
        (["0 9 * * *", "0 0 30 2 *"], "Expression 2, day-of-month field, character 5: no date has such a day"),
        (["0 9 * * *", "@every 5m"], "Expression 2, character 1: @every stands for a period"),
        (["0 24 * * *"], "Hour field, character 3: 24 is not between 0 and 23."),
        ([], "A cron expression is missing."),
    ],
)
def test_the_wrong_one_of_several_expressions_is_named(expressions: list[str], message: str) -> None:
    with pytest.raises(InvalidCronError) as caught:
        parse_cron(join_expressions(expressions))
    assert caught.value.message.startswith(message)


def test_an_expression_that_its_zone_always_skips_costs_few_operations() -> None:
    start = datetime(2026, 3, 1, tzinfo=UTC)

    def ask() -> None:
        assert next_slot(Recurrence("America/Toronto", start, "* 2 * 3 0#2"), after=start) is None

    assert count_calls(ask) < 100_000


def count_calls(work: Callable[[], None]) -> int:
    calls = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    previous = sys.getprofile()
    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(previous)
    return calls
