"""Expressions with seconds, and the rules for clock changes that a schedule may choose."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from scheduling import dispatch
from tests.api import ApiClient
from tests.scheduling.schedules import change, create, expanded, fired, run

pytestmark = pytest.mark.django_db


def test_the_first_of_six_fields_is_the_seconds(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, cron="*/20 * * * * *", cron_seconds=True)

    run(time, *(step / 60 for step in range(0, 61, 5)))

    assert [minute * 60 for minute in fired(schedule)] == [20, 40, 60]
    assert expanded(alice, schedule, "cron_seconds") == {"cron_seconds": True}


@pytest.mark.parametrize(
    ("body", "now", "expected"),
    [
        # In Berlin, 2:30 is skipped on 29 March 2026 and repeated on 25 October.
        ({}, datetime(2026, 3, 28, 12, tzinfo=UTC), [datetime(2026, 3, 29, 1, tzinfo=UTC)]),
        ({"dst_gap": "skip"}, datetime(2026, 3, 28, 12, tzinfo=UTC), [datetime(2026, 3, 30, 0, 30, tzinfo=UTC)]),
        (
            {},
            datetime(2026, 10, 24, 12, tzinfo=UTC),
            [datetime(2026, 10, 25, 0, 30, tzinfo=UTC), datetime(2026, 10, 26, 1, 30, tzinfo=UTC)],
        ),
        (
            {"dst_overlap": "both"},
            datetime(2026, 10, 24, 12, tzinfo=UTC),
            [datetime(2026, 10, 25, 0, 30, tzinfo=UTC), datetime(2026, 10, 25, 1, 30, tzinfo=UTC)],
        ),
    ],
)
def test_clock_changes_follow_the_rules_that_the_schedule_chooses(
    alice: ApiClient, time: list[datetime], body: dict[str, Any], now: datetime, expected: list[datetime]
) -> None:
    time[0] = now
    schedule = create(alice, cron="30 2 * * *", timezone_type="custom_timezone", timezone="Europe/Berlin", **body)

    found = []
    for _ in expected:
        schedule.refresh_from_db()
        assert schedule.next_run_at is not None
        found.append(schedule.next_run_at)
        time[0] = schedule.next_run_at
        dispatch.dispatch_due()

    assert found == expected


def test_changing_the_rule_for_clock_changes_changes_the_timing(alice: ApiClient, time: list[datetime]) -> None:
    time[0] = datetime(2026, 3, 28, 12, tzinfo=UTC)
    schedule = create(alice, cron="30 2 * * *", timezone_type="custom_timezone", timezone="Europe/Berlin")

    change(alice, schedule, dst_gap="skip", dst_overlap="both")

    assert schedule.next_run_at == datetime(2026, 3, 30, 0, 30, tzinfo=UTC)
    assert expanded(alice, schedule, "dst_gap", "dst_overlap") == {"dst_gap": "skip", "dst_overlap": "both"}
