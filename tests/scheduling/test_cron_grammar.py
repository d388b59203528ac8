from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import islice

import pytest

from scheduling.cron_grammar import MAX_LENGTH, parse_cron
from scheduling.errors import InvalidCronError
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
    ],
)
def test_clock_fields_mean_what_cron_means_by_them(
    expression: str, minutes: tuple[int, ...], hours: tuple[int, ...]
) -> None:
    parsed = parse_cron(expression)
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
    ],
)
def test_day_fields_mean_what_cron_means_by_them(
    fields: str, month_days: set[int], months: set[int], weekdays: set[int]
) -> None:
    parsed = parse_cron(f"0 0 {fields}")
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
def test_a_macro_is_the_fields_it_stands_for(macro: str, fields: str) -> None:
    assert parse_cron(macro) == parse_cron(fields)
    assert parse_cron(macro, seconds=True) == parse_cron(f"0 {fields}", seconds=True)


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("0 9-9 1-1 JAN-JAN SUN-SUN", "0 9 1 1 0"),
        ("*/1 0-23/1 * * 7", "* 0-23 * * 0"),
        ("0 0 l,15 * 5#2,5-7,MON#3", "0 0 L,15 * 5#2,5,6,0,1#3"),
        ("0 0 L,* * 1#1,*", "0 0 L,* * 1#1,*"),
        ("@weekly", "0 0 * * 0"),
    ],
)
def test_the_text_is_the_plain_spelling(expression: str, text: str) -> None:
    assert parse_cron(expression).text == text
    assert parse_cron(text) == parse_cron(expression)


def test_seconds_come_first_where_they_are_asked_for() -> None:
    parsed = parse_cron("*/15 30 2 * * *", seconds=True)
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
    ],
)
def test_a_star_at_the_start_of_a_clock_field_makes_a_job_follow_real_time(
    expression: str, seconds: bool, follows: bool
) -> None:
    assert parse_cron(expression, seconds=seconds).follows_real_time is follows


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
    ],
)
def test_day_of_month_and_day_of_week_combine_as_in_vixie_cron(fields: str, days: tuple[int, ...]) -> None:
    """March 2026 begins on a Sunday, so only Sunday, Monday and Tuesday come five times."""
    assert parse_cron(f"0 0 {fields}").days_in(2026, 3) == days


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
        ("0 22-2 * * *", "hour", 3, "the range 22-2 runs backwards"),
        ("0 0 * * FRI-SUN", "day-of-week", 9, "runs backwards (Sunday at a range's end is 7)"),
        ("0 0 * NOV-FEB *", "month", 7, "runs backwards"),
        ("*/0 * * * *", "minute", 3, "the step must be 1 to 60 here, not 0"),
        ("*/61 * * * *", "minute", 3, "the step must be 1 to 60 here, not 61"),
        ("0 */25 * * *", "hour", 5, "the step must be 1 to 24 here, not 25"),
        ("10-20/12 * * * *", "minute", 7, "the step must be 1 to 11 here, not 12"),
        ("5-5/2 * * * *", "minute", 5, "the step must be 1 to 1 here"),
        ("59/15 * * * *", "minute", 1, "a step needs a range or *: 59-59/15"),
        ("0 0 * 6/1 *", "month", 7, "a step needs a range or *"),
        ("*/ * * * *", "minute", 3, "the step is missing"),
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
        ("R * * * *", "minute", 1, "'R' is not a number"),
        ("H * * * *", "minute", 1, "'H' is not a number"),
        ("H/5 * * * *", "minute", 1, "'H' is not a number"),
        ("R(0-30) * * * *", "minute", 1, "'R(0' is not a number"),
        ("0 0 ? * 1", "day-of-month", 5, "'?' is not a number"),
        ("0 0 15W * *", "day-of-month", 5, "'15W' is not a number"),
        ("0 0 LW * *", "day-of-month", 5, "'LW' is not a number"),
        ("0 0 L-3 * *", "day-of-month", 5, "'L' is not a number"),
        ("0 0 1-L * *", "day-of-month", 7, "'L' is not a number"),
        ("0 0 L/2 * *", "day-of-month", 5, "'L' is not a number"),
        ("0 L * * *", "hour", 3, "'L' is not a number"),
        ("0 0 * * 5L", "day-of-week", 9, "'5L' is not a number"),
        ("0 0 * * L5", "day-of-week", 9, "'L5' is not a number"),
        ("0 0 1#2 * *", "day-of-month", 5, "'1#2' is not a number"),
        ("0 0 * * 5#6", "day-of-week", 11, "the number after # is 1 to 5, not '6'"),
        ("0 0 * * 5#0", "day-of-week", 11, "the number after # is 1 to 5"),
        ("0 0 * * 5#", "day-of-week", 11, "the number after # is 1 to 5, not ''"),
        ("0 0 * * #2", "day-of-week", 9, "a value is missing"),
        ("0 0 * * 8#2", "day-of-week", 9, "8 is not between 0 and 7"),
        ("0 0 * * 1-5#2", "day-of-week", 9, "'1-5#2' is not of the form weekday#number"),
        ("0 0 * * *#2", "day-of-week", 9, "'*' is not a number"),
        ("0 0 * * 1#2#3", "day-of-week", 9, "is not of the form weekday#number"),
        ("@reboot", None, 1, "@reboot is none of @hourly, @daily"),
        ("@Daily", None, 1, "@Daily is none of"),
        ("@daily 5", None, 8, "nothing may follow @daily"),
        ("", None, 1, "5 fields are needed (minute, hour, day-of-month, month, day-of-week), not 0"),
        ("* * * *", None, 8, "5 fields are needed"),
        ("0 * * * * *", None, 11, "5 fields are needed"),
        ("0 0 * * * 2027 x", None, 11, "not 7"),
        ("0 0 * *\n*", None, 8, "character U+000A has no place in it"),
        ("0\u00a00 * * *", None, 2, "character U+00A0 has no place in it"),
        ("٣ * * * *", None, 1, "character U+0663 has no place in it"),
        ("０ 0 * * *", None, 1, "character U+FF10 has no place in it"),
        ("0 0 * * \x00", None, 9, "character U+0000 has no place in it"),
        ("0 0 * * \ud800", None, 9, "character U+D800 has no place in it"),
        ("9" * 200 + " * * * *", "minute", 1, "99999999999999999999… is not between 0 and 59"),
        ("*/" + "9" * 200 + " * * * *", "minute", 3, "not 99999999999999999999…"),
        ("x" * 200 + " * * * *", "minute", 1, "'xxxxxxxxxxxxxxxxxxxx…' is not a number"),
    ],
)
def test_an_expression_is_refused_with_what_is_wrong_and_where(
    expression: str, field: str | None, position: int, reason: str
) -> None:
    with pytest.raises(InvalidCronError) as caught:
        parse_cron(expression)
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
        ("* * * * * * *", "6 fields are needed"),
        ("60 * * * * *", "Second field, character 1: 60 is not between 0 and 59"),
        ("0 60 * * * *", "Minute field, character 3: 60 is not between 0 and 59"),
    ],
)
def test_an_expression_with_seconds_has_six_fields(expression: str, reason: str) -> None:
    with pytest.raises(InvalidCronError) as caught:
        parse_cron(expression, seconds=True)
    assert reason in caught.value.message


@pytest.mark.parametrize("expression", [None, 5, b"* * * * *", ["* * * * *"]])
def test_what_is_no_string_is_refused(expression: object) -> None:
    with pytest.raises((InvalidCronError, TypeError)):
        parse_cron(expression)


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
        "30 2 */2,1#5",
    ],
)
def test_an_expression_that_can_never_fire_is_refused(fields: str) -> None:
    with pytest.raises(InvalidCronError, match="would never fire") as caught:
        parse_cron(f"0 0 {fields}")
    assert (caught.value.field, caught.value.position) == ("day-of-month", 5)


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
        ("*/31,L 2 1#4", "2033-02-28"),
    ],
)
def test_a_rare_expression_is_taken(fields: str, first: str) -> None:
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


def test_an_expression_has_at_most_255_characters() -> None:
    longest = "0,1 * * * *".ljust(MAX_LENGTH)
    assert parse_cron(longest).minutes == (0, 1)
    with pytest.raises(InvalidCronError, match="at most 255 characters, not 256"):
        parse_cron(longest + " ")


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
]


@pytest.mark.parametrize("expression", ADVERSARIAL)
def test_an_adversarial_expression_costs_few_operations(expression: str) -> None:
    start = datetime(2072, 3, 1, tzinfo=UTC)
    next_slot(Recurrence("UTC", start, "* * * * *"), after=start)
    parse_cron.cache_clear()

    def ask() -> None:
        try:
            next_slot(Recurrence("UTC", start, expression), after=start)
        except InvalidCronError:
            return

    assert count_calls(ask) < 20_000


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


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("0 9 * * *", "00 09 * * *"),
        ("0 9 * * MON,TUE", "0\t9-9 * *  2,1"),
        ("@weekly", "0 0 * * SUN"),
        ("0 0 L,15 * 5#2", "0 0 15,L,15 * FRI#2"),
    ],
)
def test_expressions_with_the_same_fields_are_equal(one: str, other: str) -> None:
    assert parse_cron(one) == parse_cron(other)
    assert hash(parse_cron(one)) == hash(parse_cron(other))


@pytest.mark.parametrize("other", ["0-59 9 * * *", "* 9 * * 1", "* 9 1 * *", "* 9 * 1 *", "* 8 * * *"])
def test_expressions_that_fire_at_other_times_differ(other: str) -> None:
    """A range over the whole field is not a star: it does not follow real time."""
    assert parse_cron("* 9 * * *") != parse_cron(other)
