"""The value of `H` depends only on the seed."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import islice
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduling.cron_grammar import join_expressions, parse_cron, parse_expression
from scheduling.recurrence import Recurrence, next_slot, slots

UUID_OF_A_SCHEDULE = UUID("c96d31b0-6930-4861-b0a2-3687ed36c0eb")
START = datetime(2026, 1, 1, tzinfo=UTC)


def test_a_hashed_value_never_changes() -> None:
    """Existing schedules run at these values, so the values must never change."""
    parsed = parse_expression("H H H H H H", seconds=True, seed=str(UUID_OF_A_SCHEDULE))
    assert (parsed.seconds, parsed.minutes, parsed.hours) == ((11,), (31,), (4,))
    assert (parsed.month_days, parsed.months, parsed.weekdays) == ((18,), (4,), (2,))


@given(st.text())
def test_a_hashed_value_is_within_its_field(seed: str) -> None:
    parsed = parse_expression("H H H H H H", seconds=True, seed=seed)
    assert len(parsed.seconds) == len(parsed.minutes) == len(parsed.hours) == 1
    assert 0 <= parsed.seconds[0] <= 59
    assert 0 <= parsed.minutes[0] <= 59
    assert 0 <= parsed.hours[0] <= 23
    assert set(parsed.month_days) <= set(range(1, 29))
    assert set(parsed.months) <= set(range(1, 13))
    assert set(parsed.weekdays) <= set(range(7))


@given(st.uuids().map(str))
def test_a_hashed_value_is_within_its_range(seed: str) -> None:
    parsed = parse_expression("H(10-19) H(22-2) H(25-3) H(NOV-FEB) H(FRI-SUN)", seed=seed)
    assert parsed.minutes[0] in range(10, 20)
    assert parsed.hours[0] in {22, 23, 0, 1, 2}
    assert set(parsed.month_days) <= {25, 26, 27, 28, 1, 2, 3}
    assert set(parsed.months) <= {11, 12, 1, 2}
    assert set(parsed.weekdays) <= {5, 6, 0}


@given(st.uuids().map(str))
def test_a_hashed_step_begins_at_a_hashed_value(seed: str) -> None:
    parsed = parse_expression("H/15 h(8-17)/3 H/7 * *", seed=seed)
    first = parsed.minutes[0]
    assert first < 15
    assert parsed.minutes == (first, first + 15, first + 30, first + 45)
    start = parsed.hours[0]
    assert start in {8, 9, 10}
    assert parsed.hours == tuple(range(start, 18, 3))
    assert len(parsed.month_days) == 4


def test_every_value_of_a_field_is_chosen_for_some_seed() -> None:
    minutes = Counter(parse_expression("H * * * *", seed=f"seed {n}").minutes[0] for n in range(6000))
    assert sorted(minutes) == list(range(60))
    assert max(minutes.values()) < 160


def test_the_values_of_fields_are_chosen_independently() -> None:
    chosen = {
        (parsed.minutes[0], parsed.hours[0] % 12)
        for parsed in (parse_expression("H H * * *", seed=f"seed {n}") for n in range(6000))
    }
    assert len(chosen) > 600


def test_the_hours_of_a_list_share_one_hashed_minute() -> None:
    (minute,) = parse_expression("H 9,17 * * *", seed="a").minutes
    assert parse_expression("H 9 * * *", seed="a").minutes == (minute,)
    both = parse_cron(join_expressions(["H 9 * * *", "H 17 * * *"]), seed="a")
    assert both == parse_cron(join_expressions([f"{minute} 9 * * *", f"{minute} 17 * * *"]))


def test_a_recurrence_uses_its_seed_for_hashed_values() -> None:
    by_uuid = Recurrence("UTC", START, "H H * * *", seed=UUID_OF_A_SCHEDULE)
    by_text = Recurrence("UTC", START, "H H * * *", seed=str(UUID_OF_A_SCHEDULE))
    found = list(islice(slots(by_uuid, after=START), 3))
    assert found == list(islice(slots(by_text, after=START), 3))
    assert found[1] - found[0] == found[2] - found[1] == timedelta(days=1)
    others = {next_slot(Recurrence("UTC", START, "H H * * *", seed=f"seed {n}"), after=START) for n in range(50)}
    assert len(others) > 40


@pytest.mark.parametrize("expression", ["0 9 * * THU", "TZ=Etc/GMT 0 9 * MAR *"])
def test_an_h_in_a_name_is_not_hashed(expression: str) -> None:
    assert not parse_expression(expression).is_hashed
    assert parse_expression(expression, seed="a") == parse_expression(expression, seed="b")


@pytest.mark.parametrize("expression", ["H 9 * * *", "0 9 * * h", "0 9 1,H * *"])
def test_an_expression_says_whether_it_is_hashed(expression: str) -> None:
    assert parse_expression(expression).is_hashed
    assert parse_cron(join_expressions(["0 8 * * *", expression])).is_hashed
