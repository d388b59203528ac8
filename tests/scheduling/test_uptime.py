"""A slot that becomes due while dispatchers are looking is late, not missed, however long it waits."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction

from deliveries.models import Reason
from scheduling import uptime
from scheduling.dispatch import dispatch_due, tick
from scheduling.models import MAX_MISFIRE_GRACE, DispatcherUptime, ScheduledExecution
from scheduling.planning import MAX_MISFIRES
from tests.api import ApiClient
from tests.factories import make_command, make_schedule
from tests.locks import held_elsewhere
from tests.scheduling.schedules import LIST, MINUTE, NOON, URL, create, fired, skipped

SECOND = timedelta(seconds=1)


def look_every(seconds: float, time: list[datetime], *, until: datetime) -> None:
    while time[0] < until:
        dispatch_due()
        time[0] = min(time[0] + timedelta(seconds=seconds), until)
    dispatch_due()


def another_process() -> None:
    """Makes this process forget its looks, as if it were a new process."""
    uptime._process_looks.cache_clear()


def make_unseen(due_at: datetime, **values: Any) -> ScheduledExecution:
    """Makes a schedule that is past its time and not dispatched yet, for example because of a herd before it."""
    values = {"execution_frequency": 3600, "misfire_policy": "skip", **values}
    anchor_at = due_at - timedelta(seconds=values["execution_frequency"])
    return make_schedule(make_command(callback_url=URL), next_run_at=due_at, anchor_at=anchor_at, **values)


@pytest.mark.django_db
@pytest.mark.parametrize("grace", [0, 5])
@pytest.mark.parametrize("policy", ["skip", "fire_latest", "fire_all"])
def test_in_an_overload_every_slot_fires_under_its_own_time(time: list[datetime], policy: str, grace: int) -> None:
    look_every(1, time, until=NOON + 3 * MINUTE)
    schedule = make_unseen(NOON + MINUTE, execution_frequency=60, misfire_policy=policy, misfire_grace=grace)

    dispatch_due()

    assert (fired(schedule), skipped(schedule)) == ([1, 2, 3], [])


@pytest.mark.django_db
def test_a_slot_that_was_due_before_the_server_started_is_missed(time: list[datetime]) -> None:
    look_every(1, time, until=NOON + MINUTE)
    schedule = make_unseen(NOON - 6 * SECOND)

    dispatch_due()

    assert [reason for *_, reason in skipped(schedule)] == [Reason.MISSED]


@pytest.mark.django_db
def test_a_slot_within_the_grace_before_the_end_of_an_outage_is_late(time: list[datetime]) -> None:
    look_every(1, time, until=NOON + MINUTE)
    schedule = make_unseen(NOON - 5 * SECOND)

    dispatch_due()

    assert fired(schedule) == [-5 / 60]


@pytest.mark.django_db
@pytest.mark.parametrize(("gap", "fires"), [(5, True), (12, False)])
def test_a_restart_is_an_outage_only_if_it_takes_longer_than_the_gap(
    time: list[datetime], gap: int, *, fires: bool
) -> None:
    look_every(1, time, until=NOON + MINUTE)
    another_process()
    time[0] += gap * SECOND
    look_every(1, time, until=NOON + 3 * MINUTE)
    schedule = make_unseen(NOON + MINUTE + SECOND)

    dispatch_due()

    assert bool(fired(schedule)) is fires


@pytest.mark.django_db
def test_a_running_process_that_does_not_look_is_an_outage(time: list[datetime]) -> None:
    """If Valkey is down, nothing tells a dispatcher to look, so it dispatches nothing."""
    look_every(1, time, until=NOON + MINUTE)
    time[0] += 2 * MINUTE
    schedule = make_unseen(NOON + 2 * MINUTE)

    dispatch_due()

    assert fired(schedule) == []


@pytest.mark.django_db
def test_looks_that_fail_because_the_database_is_away_do_not_count(time: list[datetime]) -> None:
    def refuse(*_: Any) -> None:
        raise OperationalError("The database is away.")

    look_every(1, time, until=NOON + MINUTE)
    with connection.execute_wrapper(refuse):
        while time[0] < NOON + 3 * MINUTE:
            time[0] += SECOND
            with pytest.raises(OperationalError):
                tick()
    schedule = make_unseen(NOON + 2 * MINUTE)

    dispatch_due()

    assert [reason for *_, reason in skipped(schedule)] == [Reason.MISSED]


@pytest.mark.django_db
def test_two_dispatchers_that_take_turns_leave_no_gap(time: list[datetime]) -> None:
    for _ in range(20):
        another_process()
        dispatch_due()
        time[0] += 4 * SECOND
    schedule = make_unseen(NOON + 10 * SECOND)

    dispatch_due()

    assert fired(schedule) == [10 / 60]
    assert DispatcherUptime.objects.get().up_since == NOON


@pytest.mark.django_db
def test_after_the_clock_has_stepped_back_nothing_counts_as_missed(time: list[datetime]) -> None:
    look_every(1, time, until=NOON + MINUTE)
    time[0] = NOON - 60 * MINUTE
    dispatch_due()
    another_process()
    look_every(1, time, until=NOON - 58 * MINUTE)
    schedule = make_unseen(NOON - 59 * MINUTE)

    dispatch_due()

    assert fired(schedule) == [-59]


@pytest.mark.django_db
def test_a_clock_that_steps_forward_is_like_an_outage(time: list[datetime]) -> None:
    look_every(1, time, until=NOON + MINUTE)
    time[0] += 60 * MINUTE
    schedule = make_unseen(NOON + 30 * MINUTE)

    dispatch_due()

    assert [reason for *_, reason in skipped(schedule)] == [Reason.MISSED]


@pytest.mark.django_db(transaction=True)
def test_a_locked_uptime_row_blocks_nobody_and_causes_no_outage(time: list[datetime]) -> None:
    dispatch_due()
    with held_elsewhere(DispatcherUptime.objects.all()):
        look_every(1, time, until=NOON + MINUTE)
    look_every(1, time, until=NOON + 2 * MINUTE)
    another_process()
    schedule = make_unseen(NOON + 30 * SECOND)

    dispatch_due()

    assert fired(schedule) == [0.5]


@pytest.mark.django_db(transaction=True)
def test_the_first_looks_of_two_dispatchers_create_one_row() -> None:
    barrier = threading.Barrier(2)

    def first_look() -> None:
        try:
            barrier.wait()
            with transaction.atomic():
                uptime._note(NOON, NOON)
        finally:
            connection.close()

    threads = [threading.Thread(target=first_look) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert DispatcherUptime.objects.count() == 1


@pytest.mark.django_db
def test_looks_are_noted_at_most_once_a_second(time: list[datetime]) -> None:
    noted = []
    for half_seconds in range(5):
        time[0] = NOON + half_seconds * SECOND / 2
        dispatch_due()
        noted.append((DispatcherUptime.objects.get().looked_at - NOON) / SECOND)

    assert noted == [0, 0, 1, 1, 2]


@pytest.mark.django_db
@pytest.mark.parametrize("values", [{"misfire_grace": MAX_MISFIRE_GRACE}, {"misfire_policy": "fire_all"}])
def test_a_long_grace_does_not_raise_the_limit_of_late_runs(time: list[datetime], values: dict[str, Any]) -> None:
    schedule = make_unseen(NOON - 600 * SECOND, execution_frequency=1, **values)

    dispatch_due()

    assert len(fired(schedule)) == MAX_MISFIRES
    assert [(count, reason) for _, _, count, reason in skipped(schedule)] == [(501, Reason.MISSED)]


@pytest.mark.django_db
def test_an_overload_does_not_raise_the_limit_of_late_runs(time: list[datetime]) -> None:
    look_every(4, time, until=NOON + 10 * MINUTE)
    schedule = make_unseen(NOON + SECOND, execution_frequency=1)

    dispatch_due()

    assert len(fired(schedule)) == MAX_MISFIRES
    assert [(count, reason) for _, _, count, reason in skipped(schedule)] == [(500, Reason.MISSED)]


@pytest.mark.django_db
def test_the_last_slot_fires_after_ends_at_if_an_overload_delayed_it(time: list[datetime]) -> None:
    look_every(1, time, until=NOON + 3 * MINUTE)
    schedule = make_unseen(NOON + MINUTE, ends_at=NOON + MINUTE, misfire_grace=0)

    dispatch_due()

    assert fired(schedule) == [1]


@pytest.mark.django_db
def test_the_grace_is_at_most_a_day(alice: ApiClient) -> None:
    assert create(alice, misfire_grace=MAX_MISFIRE_GRACE).misfire_grace == MAX_MISFIRE_GRACE

    response = alice.post(LIST, {"name": "report", "misfire_grace": MAX_MISFIRE_GRACE + 1})

    assert response.status_code == 400
    assert list(response.json()["errors"]) == ["misfire_grace"]
