"""Slots that are due while another run of their schedule is unfinished."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from deliveries import outcomes, queue
from deliveries.models import Delivery, Reason, State
from deliveries.outcomes import Outcome
from deliveries.queue import Claim
from scheduling import services, tasks
from scheduling.dispatch import dispatch_due
from scheduling.models import ScheduledExecution
from scheduling.verification import Verification
from tests.api import ApiClient
from tests.locks import held_elsewhere, without_waiting
from tests.scheduling.schedules import LIST, MINUTE, NOON, change, create, fired, rows_of, run, skipped

pytestmark = pytest.mark.django_db

LEASE = timedelta(hours=1)


def claim() -> list[Claim]:
    return queue.claim(limit=100, lease=LEASE)


def claim_one() -> Claim:
    (claimed,) = claim()
    return claimed


def record(claimed: Claim, state: State = State.DELIVERED, **values: Any) -> None:
    assert outcomes.record([Outcome(claimed.id, claimed.lease, state, **values)]).written == 1


def waiting(schedule: ScheduledExecution) -> list[float]:
    """Returns the slots that wait for a run to end, as minutes after noon."""
    rows = rows_of(schedule)
    return [(row.due_at - NOON) / MINUTE for row in rows if row.state == State.PENDING and row.next_attempt_at is None]


@pytest.fixture(autouse=True)
def _every_slot_is_in_the_ledger() -> Iterator[None]:
    yield
    for schedule in ScheduledExecution.objects.all():
        assert list(Verification(schedule).differences()) == []


def test_runs_may_overlap_by_default(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, execution_frequency=60)

    run(time, 1, 2)

    assert fired(schedule) == [1, 2]
    assert len(claim()) == 2


def test_an_unknown_policy_is_refused(alice: ApiClient) -> None:
    response = alice.post(LIST, {"name": "report", "overlap": "queue_two"})

    assert response.status_code == 400
    assert list(response.json()["errors"]) == ["overlap"]


def test_slots_that_are_due_during_a_run_are_skipped_and_become_one_row(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, execution_frequency=60, overlap="skip", repeats=3)
    run(time, 1)
    claimed = claim_one()

    run(time, 2, 3, 4)
    assert skipped(schedule) == [(2, 4, 3, Reason.OVERLAP)]

    record(claimed)
    run(time, 5)
    claim_one()
    run(time, 6)
    assert skipped(schedule) == [(2, 4, 3, Reason.OVERLAP), (6, 6, 1, Reason.OVERLAP)]
    assert fired(schedule) == [5]
    schedule.refresh_from_db()
    assert schedule.repeats == 1


def test_a_row_of_skipped_slots_finishes_with_its_last_slot(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, execution_frequency=60, overlap="skip")
    run(time, 1, 2, 3)

    (row,) = schedule.slots().filter(state=State.SKIPPED)

    assert (row.due_at, row.last_due_at, row.finished_at) == (NOON + 2 * MINUTE, NOON + 3 * MINUTE, time[0])


def test_a_new_timing_begins_a_new_row(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, execution_frequency=60, overlap="skip")
    run(time, 1)
    claim_one()
    run(time, 2)

    time[0] = NOON + 2.5 * MINUTE
    change(alice, schedule, execution_frequency=30)
    run(time, 3, 3.5)

    assert skipped(schedule) == [(2, 2, 1, Reason.OVERLAP), (3, 3.5, 2, Reason.OVERLAP)]


@pytest.mark.django_db(transaction=True)
def test_a_locked_row_of_skipped_slots_is_left_and_another_one_begins(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, execution_frequency=60, overlap="skip")
    run(time, 1, 2)
    held = schedule.slots().filter(state=State.SKIPPED)

    with held_elsewhere(held), without_waiting():
        run(time, 3)
    run(time, 4)

    assert skipped(schedule) == [(2, 2, 1, Reason.OVERLAP), (3, 4, 2, Reason.OVERLAP)]


@pytest.mark.parametrize("policy", ["skip", "queue_one"])
def test_a_retry_that_is_not_due_does_not_stop_other_slots(alice: ApiClient, time: list[datetime], policy: str) -> None:
    schedule = create(alice, execution_frequency=60, overlap=policy)
    run(time, 1)
    record(claim_one(), State.PENDING, retry_in=timedelta(hours=2))

    run(time, 2)

    assert claim_one().id == rows_of(schedule)[1].id
    assert (skipped(schedule), waiting(schedule)) == ([], [])


@pytest.mark.parametrize("policy", ["skip", "queue_one"])
def test_an_unclaimed_run_is_unfinished_too(alice: ApiClient, time: list[datetime], policy: str) -> None:
    schedule = create(alice, execution_frequency=60, overlap=policy)

    run(time, 1, 2)

    assert len(claim()) == 1
    assert bool(waiting(schedule)) is (policy == "queue_one")


@pytest.mark.parametrize(
    ("body", "minute", "expected"),
    [
        ({"misfire_policy": "fire_all"}, 5.5, [1]),
        ({"misfire_grace": 600}, 5.5, [1]),
        ({}, 5.5, [5]),
    ],
)
def test_slots_that_are_due_together_overlap_too(
    alice: ApiClient, time: list[datetime], body: dict[str, Any], minute: float, expected: list[int]
) -> None:
    schedule = create(alice, execution_frequency=60, overlap="skip", **body)

    run(time, minute)

    assert fired(schedule) == expected
    assert [count for _, _, count, _ in skipped(schedule)] == [4]


def test_one_run_waits_and_further_slots_are_skipped(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, execution_frequency=60, overlap="queue_one", repeats=5)
    run(time, 1)
    first = claim_one()

    run(time, 2, 3, 4)
    assert claim() == []
    assert (waiting(schedule), skipped(schedule)) == ([2], [(3, 4, 2, Reason.OVERLAP)])

    record(first)
    second = claim_one()
    assert second.id == rows_of(schedule)[1].id
    assert second.lateness == timedelta()
    run(time, 5)
    assert waiting(schedule) == [5]
    schedule.refresh_from_db()
    assert schedule.repeats == 2


@pytest.mark.parametrize(
    ("state", "values"),
    [
        (State.DELIVERED, {}),
        (State.FAILED, {"reason": Reason.REJECTED}),
        (State.SKIPPED, {"reason": Reason.COMMAND_INACTIVE}),
        (State.CANCELLED, {"reason": Reason.SCHEDULE_CHANGED}),
        (State.PENDING, {"retry_in": timedelta(seconds=5)}),
    ],
)
def test_the_waiting_run_starts_however_the_first_run_ends(
    alice: ApiClient, time: list[datetime], state: State, values: dict[str, Any]
) -> None:
    schedule = create(alice, execution_frequency=60, overlap="queue_one")
    run(time, 1)
    first = claim_one()
    run(time, 2)

    record(first, state, **values)

    assert claim_one().id == rows_of(schedule)[1].id


def test_one_of_several_slots_due_together_is_sent_and_one_waits(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, execution_frequency=60, overlap="queue_one", misfire_policy="fire_all")

    run(time, 5.5)

    assert (len(claim()), waiting(schedule), skipped(schedule)) == (1, [2], [(3, 5, 3, Reason.OVERLAP)])


def test_a_look_of_the_dispatcher_starts_a_forgotten_waiting_run(alice: ApiClient, time: list[datetime]) -> None:
    """The first run ended between the dispatcher's query and its commit."""
    schedule = create(alice, execution_frequency=60, overlap="queue_one")
    run(time, 1, 2)
    Delivery.objects.filter(pk=rows_of(schedule)[0].pk).update(
        state=State.DELIVERED, next_attempt_at=None, finished_at=time[0]
    )

    tasks.dispatch_due()

    assert claim_one().id == rows_of(schedule)[1].id


def test_no_two_runs_are_sent_at_once_after_a_sender_dies(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, execution_frequency=60, overlap="queue_one")
    run(time, 1)
    claim_one()
    run(time, 2)

    time[0] += LEASE + timedelta(seconds=1)
    dispatch_due()
    again = claim_one()
    dispatch_due()

    assert again.id == rows_of(schedule)[0].id
    assert (again.attempt, claim()) == (2, [])


@pytest.mark.django_db(transaction=True)
def test_a_locked_waiting_run_blocks_nobody_and_starts_later(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, execution_frequency=60, overlap="queue_one")
    run(time, 1)
    first = claim_one()
    run(time, 2)
    second = rows_of(schedule)[1]

    with held_elsewhere(Delivery.objects.filter(pk=second.pk)), without_waiting():
        record(first)
        dispatch_due()
    dispatch_due()

    assert claim_one().id == second.id


def test_a_waiting_run_has_the_usual_time_once_it_starts(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, execution_frequency=60, overlap="queue_one")
    run(time, 1)
    first = claim_one()
    run(time, 2)
    time[0] += timedelta(hours=20)

    record(first)

    row = rows_of(schedule)[1]
    assert row.next_attempt_at == time[0]
    assert row.expires_at >= time[0] + timedelta(hours=23)


@pytest.mark.parametrize("end", ["pause", "delete"])
def test_a_waiting_run_is_cancelled_like_any_other(alice: ApiClient, time: list[datetime], end: str) -> None:
    schedule = create(alice, execution_frequency=60, overlap="queue_one")
    run(time, 1, 2)

    if end == "pause":
        services.pause(schedule=schedule)
    else:
        services.delete_scheduled_execution(schedule=schedule)

    assert {row.state for row in Delivery.objects.all()} == {State.CANCELLED}
    assert claim() == []


def test_a_list_shows_a_waiting_run_without_a_next_attempt(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, execution_frequency=60, overlap="queue_one")
    run(time, 1, 2)

    results = alice.get(f"{LIST}{schedule.uuid}/slots/").json()["results"]

    assert [row["state"] for row in results] == ["pending", "pending"]
    assert [row["next_attempt_at"] is None for row in results] == [False, True]
