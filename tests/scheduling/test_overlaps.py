"""Slots that are due while the one before is not finished."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from deliveries.models import Reason, State
from tests.api import ApiClient
from tests.scheduling.schedules import create, fired, rows_of, run, skipped

pytestmark = pytest.mark.django_db


def test_a_slot_is_skipped_while_the_one_before_it_is_not_finished(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, execution_frequency=60, skip_overlapping=True, repeats=3)
    run(time, 1, 2, 3)
    schedule.slots().filter(state=State.PENDING).update(
        state=State.DELIVERED, next_attempt_at=None, finished_at=time[0]
    )

    run(time, 4)

    assert skipped(schedule) == [(2, 2, 1, Reason.OVERLAP), (3, 3, 1, Reason.OVERLAP)]
    assert fired(schedule) == [4]
    schedule.refresh_from_db()
    assert schedule.repeats == 1


@pytest.mark.parametrize(
    ("body", "minute", "expected_fired"),
    [
        ({"misfire_policy": "fire_all"}, 5.5, [1]),
        ({"misfire_grace": 600}, 5.5, [1]),
        ({}, 5.5, [5]),
    ],
)
def test_slots_that_are_due_together_overlap_too(
    alice: ApiClient, time: list[datetime], body: dict[str, Any], minute: float, expected_fired: list[int]
) -> None:
    schedule = create(alice, execution_frequency=60, skip_overlapping=True, **body)

    run(time, minute)

    assert fired(schedule) == expected_fired
    assert sum(row.slot_count for row in rows_of(schedule)) == 5


def test_overlapping_is_allowed_unless_told_otherwise(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, execution_frequency=60)

    run(time, 1, 2)

    assert fired(schedule) == [1, 2]
