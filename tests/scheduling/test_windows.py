"""All slots of a schedule are between `starts_at` and `ends_at`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from deliveries.models import Reason, State
from scheduling.models import MAX_MISFIRE_GRACE, DeactivationReason
from tests.api import ApiClient
from tests.scheduling.schedules import MINUTE, NOON, at, change, create, expanded, fired, rows_of, run, skipped

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("timing", "minutes"),
    [
        ({}, [3]),
        ({"execution_frequency": 120}, [3, 5, 7]),
        ({"cron": "*/3 * * * *"}, [3, 6]),
        ({"cron": "*/2 * * * *"}, [4, 6]),
        ({"cron": "30 * * * * *", "cron_seconds": True}, [3.5, 4.5, 5.5, 6.5]),
    ],
)
def test_the_window_includes_both_its_ends_and_the_last_slot_completes_the_schedule(
    alice: ApiClient, time: list[datetime], timing: dict[str, Any], minutes: list[float]
) -> None:
    schedule = create(alice, starts_at=at(3), ends_at=at(7), **timing)
    assert expanded(alice, schedule, "starts_at", "ends_at") == {"starts_at": at(3), "ends_at": at(7)}

    run(time, *(step / 2 for step in range(20)))

    assert fired(schedule) == minutes
    assert skipped(schedule) == []
    schedule.refresh_from_db()
    assert (schedule.is_active, schedule.deactivation_reason) == (False, DeactivationReason.COMPLETED)


@pytest.mark.parametrize(
    ("timing", "minute"),
    [({}, 0), ({"execution_frequency": 120}, 1), ({"cron": "*/3 * * * *"}, 3)],
)
def test_a_start_in_the_past_sets_the_phase(
    alice: ApiClient, time: list[datetime], timing: dict[str, Any], minute: int
) -> None:
    schedule = create(alice, starts_at=at(-7), **timing)

    assert schedule.next_run_at == NOON + minute * MINUTE


def test_the_end_of_the_calendar_means_for_ever(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, execution_frequency=60, ends_at="9999-12-31T23:59:59Z", misfire_grace=MAX_MISFIRE_GRACE)

    run(time, 1, 2)

    schedule.refresh_from_db()
    assert (fired(schedule), schedule.is_active) == ([1, 2], True)


def test_nothing_runs_before_a_start_in_the_far_future(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, execution_frequency=60, starts_at="9999-12-31T23:59:59Z")

    run(time, 1)

    assert expanded(alice, schedule, "next_run_at") == {"next_run_at": "9999-12-31T23:59:59Z"}
    assert fired(schedule) == []


def test_a_new_start_moves_the_phase_and_cancels_unsent_deliveries(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, execution_frequency=60)
    run(time, 1)

    change(alice, schedule, starts_at=at(10.5))

    assert schedule.next_run_at == NOON + 10.5 * MINUTE
    (row,) = rows_of(schedule)
    assert (row.state, row.reason) == (State.CANCELLED, Reason.SCHEDULE_CHANGED)
    change(alice, schedule, starts_at=None)
    assert schedule.next_run_at == NOON + 2 * MINUTE


def test_a_new_end_keeps_the_phase_and_the_slots_before_it(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, execution_frequency=60)
    run(time, 1)
    time[0] = NOON + 1.5 * MINUTE

    change(alice, schedule, ends_at=at(2))
    run(time, 2, 3)

    assert fired(schedule) == [1, 2]
    schedule.refresh_from_db()
    assert schedule.deactivation_reason == DeactivationReason.COMPLETED


def test_an_end_before_the_next_slot_is_refused_unless_the_schedule_is_paused(
    alice: ApiClient, time: list[datetime]
) -> None:
    schedule = create(alice, execution_frequency=600)

    refused = change(alice, schedule, ends_at=at(5))
    accepted = change(alice, schedule, ends_at=at(5), is_active=False)
    resumed = change(alice, schedule, is_active=True)

    assert [response.status_code for response in (refused, accepted, resumed)] == [400, 200, 400]
    assert list(refused.json()["errors"]) == list(resumed.json()["errors"]) == ["ends_at"]


def test_a_completed_schedule_continues_when_its_end_is_moved_later(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, execution_frequency=60, ends_at=at(1))
    run(time, 1, 5.5)

    change(alice, schedule, ends_at=None, is_active=True)
    run(time, 6)

    assert fired(schedule) == [1, 6]


def test_a_slot_dispatched_after_the_end_is_not_sent(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, execution_frequency=60, ends_at=at(3))

    run(time, 10)

    assert skipped(schedule) == [(1, 2, 2, Reason.MISSED), (3, 3, 1, Reason.OUTSIDE_WINDOW)]
    schedule.refresh_from_db()
    assert schedule.is_active is False


def test_resuming_a_single_run_after_its_end_is_refused(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, starts_at=at(1), ends_at=at(2), is_active=False)
    time[0] = NOON + 5 * MINUTE

    assert change(alice, schedule, is_active=True).status_code == 400


@pytest.mark.parametrize("policy", ["fire_latest", "skip", "fire_all"])
def test_a_paused_single_run_fires_when_it_is_resumed_whatever_the_policy(
    alice: ApiClient, time: list[datetime], policy: str
) -> None:
    schedule = create(alice, starts_at=at(1), is_active=False, misfire_policy=policy)
    time[0] = NOON + 5 * MINUTE
    change(alice, schedule, is_active=True)

    run(time, 5)

    assert fired(schedule) == [5]
