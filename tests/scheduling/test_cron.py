from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice

from croniter import croniter
from cronsim import CronSim
from hypothesis import assume, given, reject, settings
from hypothesis import strategies as st

from scheduling.cron import CronExpression
from scheduling.cron_grammar import parse_cron
from scheduling.errors import InvalidCronError
from scheduling.recurrence import Recurrence, slots


def clock_fields(low: int, high: int) -> st.SearchStrategy[str]:
    numbers = st.integers(low, high)
    ranges = st.tuples(numbers, numbers).map(sorted)
    term = st.one_of(
        st.just("*"),
        numbers.map(str),
        ranges.map(lambda ends: f"{ends[0]}-{ends[1]}"),
        st.integers(1, high - low + 1).map(lambda step: f"*/{step}"),
        ranges.flatmap(
            lambda ends: st.integers(1, ends[1] - ends[0] + 1).map(lambda step: f"{ends[0]}-{ends[1]}/{step}")
        ),
    )
    return st.lists(term, min_size=1, max_size=3).map(",".join)


def with_extension(plain: st.SearchStrategy[str], extension: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(plain, plain, extension, st.tuples(plain, extension).map(",".join))


expressions = st.tuples(
    clock_fields(0, 59),
    clock_fields(0, 23),
    with_extension(clock_fields(1, 31), st.just("L")),
    clock_fields(1, 12),
    with_extension(
        clock_fields(0, 7), st.tuples(st.integers(0, 7), st.integers(1, 5)).map(lambda pair: f"{pair[0]}#{pair[1]}")
    ),
).map(" ".join)


def parse_or_skip(expression: str) -> CronExpression:
    try:
        return parse_cron(expression)
    except InvalidCronError:
        reject()


def instants(first_year: int, last_year: int) -> st.SearchStrategy[datetime]:
    first, last = datetime(first_year, 1, 1, tzinfo=UTC), datetime(last_year, 1, 1, tzinfo=UTC)
    return st.integers(int(first.timestamp()), int(last.timestamp())).map(lambda at: datetime.fromtimestamp(at, UTC))


@settings(max_examples=150, deadline=None)
@given(expressions, instants(1971, 2150))
def test_wall_times_agree_with_cronsim(expression: str, start: datetime) -> None:
    # cronsim takes `1-1/1` for `1-31/1`, so it gets the plain spelling.
    expected = list(islice(CronSim(parse_or_skip(expression).text, start), 6))
    assert list(islice(slots(Recurrence("UTC", start, expression), after=start), 6)) == expected


@settings(max_examples=60, deadline=None)
@given(
    clock_fields(0, 59),
    clock_fields(0, 23),
    clock_fields(1, 31),
    clock_fields(1, 12),
    instants(1971, 2090),
)
def test_wall_times_agree_with_croniter_where_its_grammar_does(
    minute: str, hour: str, month_day: str, month: str, start: datetime
) -> None:
    parsed = parse_or_skip(f"{minute} {hour} {month_day} {month} *")
    theirs = croniter(parsed.text, start, ret_type=datetime, implement_cron_bug=True)
    expected = [theirs.get_next() for _ in range(4)]
    ours = slots(Recurrence("UTC", expected[0], parsed.text), after=start)
    assert list(islice(ours, 4)) == expected


@settings(max_examples=100, deadline=None)
@given(expressions, st.integers(-(10**9), 5 * 10**9), st.integers(0, 40 * 86_400))
def test_matches_are_found_forwards_backwards_and_counted_alike(expression: str, start: int, span: int) -> None:
    parsed = parse_or_skip(expression)
    assume(len(parsed.hours) * len(parsed.minutes) < 200)
    end = start + span
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


def test_a_count_agrees_with_cronsim_over_years() -> None:
    start = datetime(2023, 12, 31, 23, 59, 30, tzinfo=UTC)
    end = start + timedelta(days=900)
    expected = 0
    for slot in CronSim("17 */7 */3,L * 1-5", start):
        if slot >= end:
            break
        expected += 1
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    walls = [int((instant - epoch).total_seconds()) for instant in (start, end)]
    assert parse_cron("17 */7 */3,L * 1-5").count_between(*walls) == expected
