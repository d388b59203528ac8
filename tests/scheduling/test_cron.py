"""Matching on wall time, compared with cronsim, croniter and a day-by-day search of the calendar."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import islice

import pytest
from croniter import croniter
from cronsim import CronSim
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from scheduling.cron import CronExpression
from scheduling.cron_grammar import join_expressions, parse_cron, parse_expression
from scheduling.cron_union import CronUnion
from scheduling.recurrence import Recurrence, slots
from tests.scheduling.expressions import Expression, expressions

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def instants(first_year: int, last_year: int) -> st.SearchStrategy[datetime]:
    first, last = datetime(first_year, 1, 1, tzinfo=UTC), datetime(last_year, 1, 1, tzinfo=UTC)
    return st.integers(int(first.timestamp()), int(last.timestamp())).map(lambda at: datetime.fromtimestamp(at, UTC))


@settings(max_examples=150, deadline=None)
@given(expressions(as_in_cronsim=True), instants(1971, 2150))
def test_wall_times_agree_with_cronsim(expression: Expression, start: datetime) -> None:
    expression.parse_or_reject()
    expected = list(islice(CronSim(expression.plain, start), 6))
    assert list(islice(slots(Recurrence("UTC", start, expression.text), after=start), 6)) == expected


@settings(max_examples=80, deadline=None)
@given(expressions(as_in_cronsim=True), instants(1971, 2090))
def test_wall_times_agree_with_croniter_in_the_common_grammar(expression: Expression, start: datetime) -> None:
    # croniter combines # and L with other days in its own way, and reads a star in a list as the whole field.
    assume(not expression.month_day_specials and not expression.weekday_specials and ",*" not in expression.plain)
    expression.parse_or_reject()
    theirs = croniter(expression.plain, start, ret_type=datetime, implement_cron_bug=True)
    expected = [theirs.get_next() for _ in range(4)]
    assert list(islice(slots(Recurrence("UTC", start, expression.text), after=start), 4)) == expected


@pytest.mark.parametrize(
    "expression",
    [
        "0 22-2 * * *",
        "50-10 * * * *",
        "0 0 * NOV-FEB *",
        "0 0 25-5 * *",
        "0 0 * * FRI-MON",
        "0 0 15W * *",
        "0 0 1W * *",
        "0 0 L * *",
        "0 0 * * 5#2",
        "0 0 * * L5",
    ],
)
def test_the_forms_beyond_vixie_cron_agree_with_croniter(expression: str) -> None:
    start = datetime(2024, 1, 1, 12, 30, tzinfo=UTC)
    theirs = croniter(expression, start, ret_type=datetime)
    expected = [theirs.get_next() for _ in range(60)]
    ours = expression.replace("L5", "5L")
    assert list(islice(slots(Recurrence("UTC", start, ours), after=start), 60)) == expected


@settings(max_examples=200, deadline=None)
@given(expressions(), st.integers(1971, 2150), st.integers(1, 12))
def test_days_agree_with_a_day_by_day_search_of_the_calendar(expression: Expression, year: int, month: int) -> None:
    parsed = expression.parse_or_reject()
    days = [date(year, month, 1) + timedelta(days=n) for n in range(31)]
    expected = tuple(day.day for day in days if day.month == month and expression.matches_day(day))
    assert parsed.days_in(year, month) == expected


@pytest.mark.parametrize(
    ("fields", "days"),
    [
        ("L * *", "01-31 02-28 03-31 04-30 05-31"),
        ("L-3 * *", "01-28 02-25 03-28 04-27 05-28"),
        ("L-30 * *", "01-01 03-01 05-01"),
        # In 2026, 31 January and 28 February are Saturdays, and 31 May is a Sunday.
        ("LW * *", "01-30 02-27 03-31 04-30 05-29"),
        ("L-3W * *", "01-28 02-25 03-27 04-27 05-28"),
        ("15W * *", "01-15 02-16 03-16 04-15 05-15"),
        # 1 February and 1 March are Sundays.
        ("1W * *", "01-01 02-02 03-02 04-01 05-01"),
        ("31W * *", "01-30 03-31 05-29"),
        ("* * 5L", "01-30 02-27 03-27 04-24 05-29"),
        ("* * FRIL", "01-30 02-27 03-27 04-24 05-29"),
        ("? * 1#2", "01-12 02-09 03-09 04-13 05-11"),
        ("? * fri#5", "01-30 05-29"),
        ("L * 5L", "01-30 01-31 02-27 02-28 03-27 03-31 04-24 04-30 05-29 05-31"),
    ],
)
def test_special_forms_match_these_days_of_2026(fields: str, days: str) -> None:
    parsed = parse_expression(f"0 0 {fields}")
    found = [f"{month:02}-{day:02}" for month in range(1, 6) for day in parsed.days_in(2026, month)]
    assert found == days.split()


def test_the_first_of_a_month_on_a_saturday_is_moved_to_monday() -> None:
    """1 August 2026 is a Saturday, and the Friday before it is in July."""
    assert parse_expression("0 0 1W * *").days_in(2026, 8) == (3,)


def check_both_ways(parsed: CronExpression | CronUnion, start: int, end: int) -> list[int]:
    """Checks that all ways to find or count the matches in [start, end) agree."""
    forwards = []
    wall = parsed.first_from(start)
    while wall is not None and wall < end:
        forwards.append(wall)
        wall = parsed.first_from(wall + 1)
    backwards = []
    wall = parsed.last_before(end)
    while wall is not None and wall >= start:
        backwards.append(wall)
        wall = parsed.last_before(wall)
    assert backwards == forwards[::-1]
    assert parsed.count_between(start, end) == len(forwards)
    return forwards


@settings(max_examples=100, deadline=None)
@given(expressions(), st.integers(-(10**9), 5 * 10**9), st.integers(0, 86_400))
def test_finding_forwards_finding_backwards_and_counting_agree(expression: Expression, start: int, span: int) -> None:
    check_both_ways(expression.parse_or_reject(), start, start + span)


@settings(max_examples=100, deadline=None)
@given(expressions(hourly_at_most=True), st.integers(-(10**9), 5 * 10**9), st.integers(0, 60 * 86_400))
def test_finding_and_counting_agree_over_months(expression: Expression, start: int, span: int) -> None:
    check_both_ways(expression.parse_or_reject(), start, start + span)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(expressions(hourly_at_most=True), min_size=1, max_size=5),
    st.integers(-(10**9), 5 * 10**9),
    st.integers(0, 60 * 86_400),
)
def test_several_expressions_match_whenever_one_of_them_does(several: list[Expression], start: int, span: int) -> None:
    parsed = [expression.parse_or_reject() for expression in several]
    found = check_both_ways(parse_cron(join_expressions([each.text for each in several])), start, start + span)
    assert found == sorted({match for each in parsed for match in check_both_ways(each, start, start + span)})


def test_a_count_agrees_with_cronsim_over_years() -> None:
    start = datetime(2023, 12, 31, 23, 59, 30, tzinfo=UTC)
    end = start + timedelta(days=900)
    expected = 0
    for slot in CronSim("17 */7 */3,L * 1-5", start):
        if slot >= end:
            break
        expected += 1
    walls = [int((instant - EPOCH).total_seconds()) for instant in (start, end)]
    assert parse_cron("17 */7 */3,L * 1-5").count_between(*walls) == expected
