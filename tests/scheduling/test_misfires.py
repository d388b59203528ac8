"""Which of the slots that were missed in an outage fire, and which are skipped."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from deliveries.models import Reason
from tests.api import ApiClient
from tests.scheduling.schedules import create, expanded, fired, run, skipped

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("policy", "expected_fired", "expected_skipped"),
    [
        ("fire_latest", [30], [(1, 29, 29, Reason.MISSED)]),
        ("skip", [], [(1, 30, 30, Reason.MISSED)]),
        ("fire_all", list(range(1, 31)), []),
    ],
)
@pytest.mark.parametrize("timing", [{"execution_frequency": 60}, {"cron": "* * * * *"}])
def test_the_policy_decides_after_an_outage(
    alice: ApiClient,
    time: list[datetime],
    *,
    timing: dict[str, Any],
    policy: str,
    expected_fired: list[int],
    expected_skipped: list[Any],
) -> None:
    schedule = create(alice, misfire_policy=policy, **timing)
    assert expanded(alice, schedule, "misfire_policy", "misfire_grace") == {
        "misfire_policy": policy, "misfire_grace": 5,
    }  # fmt: skip

    run(time, 30.5)

    assert (fired(schedule), skipped(schedule)) == (expected_fired, expected_skipped)
    run(time, 31)
    assert fired(schedule) == [*expected_fired, 31]


@pytest.mark.parametrize(
    ("minutes", "first_fired", "expected_skipped"),
    [
        (99, 1, []),
        (100, 1, []),
        (101, 2, [(1, 1, 1, Reason.MISSED)]),
        (250, 151, [(1, 150, 150, Reason.MISSED)]),
        (60 * 24 * 365, 60 * 24 * 365 - 99, [(1, 60 * 24 * 365 - 100, 60 * 24 * 365 - 100, Reason.MISSED)]),
    ],
)
@pytest.mark.parametrize("timing", [{"execution_frequency": 60}, {"cron": "* * * * *"}])
def test_at_most_a_hundred_missed_slots_fire_and_the_earlier_ones_are_one_row(
    alice: ApiClient,
    time: list[datetime],
    *,
    timing: dict[str, Any],
    minutes: int,
    first_fired: int,
    expected_skipped: list[Any],
) -> None:
    schedule = create(alice, misfire_policy="fire_all", **timing)

    run(time, minutes + 0.5)

    assert fired(schedule) == list(range(first_fired, minutes + 1))
    assert skipped(schedule) == expected_skipped


@pytest.mark.parametrize(
    ("policy", "expected_fired", "left"),
    [("fire_latest", [30], 2), ("skip", [], 3), ("fire_all", [1, 2, 3], 0)],
)
def test_runs_that_fire_after_an_outage_take_repeats(
    alice: ApiClient, time: list[datetime], policy: str, expected_fired: list[int], left: int
) -> None:
    schedule = create(alice, execution_frequency=60, misfire_policy=policy, repeats=3)

    run(time, 30.5)

    schedule.refresh_from_db()
    assert fired(schedule) == expected_fired
    assert (schedule.repeats, schedule.is_active) == (left, left > 0)


@pytest.mark.parametrize(
    ("grace", "policy", "expected_fired"),
    [(60, "skip", [1, 2]), (61, "skip", [1, 2]), (59, "skip", [2]), (0, "skip", []), (0, "fire_latest", [2])],
)
def test_a_slot_within_the_grace_is_late_and_not_missed(
    alice: ApiClient, time: list[datetime], grace: int, policy: str, expected_fired: list[int]
) -> None:
    schedule = create(alice, execution_frequency=60, misfire_grace=grace, misfire_policy=policy)

    run(time, 2 if grace else 2.01)

    assert fired(schedule) == expected_fired


def test_a_missed_single_run_fires_unless_its_policy_is_skip(alice: ApiClient, time: list[datetime]) -> None:
    default, strict = create(alice), create(alice, misfire_policy="skip")

    run(time, 10)

    assert (fired(default), fired(strict)) == ([0], [])
    assert skipped(strict) == [(0, 0, 1, Reason.MISSED)]
