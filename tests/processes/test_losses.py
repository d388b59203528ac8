"""A process is lost if it is silent while others report."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest

from commands_platform.lib import clock
from processes.heartbeats import MAX_REPORT_GAP, Heartbeat
from processes.losses import LOST_AFTER, STEADY_FOR, LostProcess, lost_processes, take_over
from processes.models import Process, Role
from tests.factories import make_process
from tests.locks import held_elsewhere

pytestmark = pytest.mark.django_db

A_MOMENT = timedelta(milliseconds=500)


def look() -> list[UUID]:
    return [each.id for each in lost_processes(Role.DELIVERER)]


@pytest.fixture
def witness() -> Process:
    return make_process(Role.WEB)


@pytest.mark.usefixtures("witness")
def test_a_process_that_is_silent_while_another_reports_is_lost() -> None:
    lost = make_process(Role.DELIVERER, seen_ago=LOST_AFTER + A_MOMENT)
    make_process(Role.DELIVERER, seen_ago=LOST_AFTER - timedelta(seconds=2))
    make_process(Role.DISPATCHER, seen_ago=timedelta(minutes=1))

    assert look() == [lost.pk]


def test_nobody_is_lost_if_all_processes_were_silent() -> None:
    """The database was away, so nobody could report."""
    make_process(Role.DELIVERER, seen_ago=timedelta(minutes=1))
    make_process(Role.DELIVERER, seen_ago=timedelta(minutes=2))

    assert look() == []


def test_nobody_is_lost_until_another_process_has_reported_for_some_time() -> None:
    """After an outage of the database, some processes report earlier than others."""
    now = clock.now()
    make_process(Role.DELIVERER, seen_ago=timedelta(minutes=1))
    back = make_process(Role.DELIVERER, steady_since=now - STEADY_FOR + timedelta(seconds=5))
    assert look() == []

    Process.objects.filter(pk=back.pk).update(steady_since=now - STEADY_FOR)

    assert len(look()) == 1


def test_a_witness_must_have_reported_lately() -> None:
    make_process(Role.DELIVERER, seen_ago=timedelta(minutes=1))
    make_process(Role.WEB, seen_ago=MAX_REPORT_GAP + A_MOMENT)

    assert look() == []


@pytest.mark.usefixtures("witness")
def test_nobody_is_lost_just_because_the_clock_of_the_database_steps_back() -> None:
    make_process(Role.DELIVERER, seen_ago=-LOST_AFTER / 2)

    assert look() == []


@pytest.mark.parametrize("gap", [timedelta(seconds=3), timedelta(seconds=-3)], ids=["forward", "back"])
def test_a_step_of_the_clock_or_an_outage_makes_a_process_unsteady(gap: timedelta) -> None:
    heartbeat = Heartbeat(Role.WEB, version="1")
    heartbeat._write(0.0)
    process = Process.objects.get()
    Process.objects.update(seen_at=process.seen_at - gap, steady_since=process.started_at)

    heartbeat._write(0.0)

    process.refresh_from_db()
    assert process.steady_since == process.seen_at


def test_reports_without_a_gap_leave_a_process_steady() -> None:
    heartbeat = Heartbeat(Role.WEB, version="1")
    heartbeat._write(0.0)
    first = Process.objects.get()

    heartbeat._write(0.0)

    assert Process.objects.get().steady_since == first.steady_since


def take(process: Process, *, is_all_released: bool = True) -> list[str]:
    calls = []

    def release() -> bool:
        calls.append("release")
        return is_all_released

    take_over(LostProcess(process.pk, "a", process.seen_at), release)
    return calls


@pytest.mark.usefixtures("witness")
def test_a_lost_process_is_taken_over_once_until_it_reports_again() -> None:
    lost = make_process(Role.DELIVERER, seen_ago=timedelta(minutes=1))

    assert take(lost) == ["release"]

    assert look() == []
    Process.objects.filter(pk=lost.pk).update(taken_over_at=lost.seen_at - timedelta(seconds=1))
    assert look() == [lost.pk]


@pytest.mark.usefixtures("witness")
def test_a_process_from_which_something_is_left_is_looked_at_again() -> None:
    lost = make_process(Role.DELIVERER, seen_ago=timedelta(minutes=1))

    take(lost, is_all_released=False)

    assert look() == [lost.pk]


def test_a_process_that_has_reported_meanwhile_is_not_taken_over() -> None:
    process = make_process(Role.DELIVERER, seen_ago=timedelta(minutes=1))
    Process.objects.update(seen_at=clock.now())

    assert take(process) == []


@pytest.mark.django_db(transaction=True)
def test_a_process_whose_row_is_locked_is_not_taken_over() -> None:
    """Another process is taking over from it, or somebody keeps it from reporting."""
    process = make_process(Role.DELIVERER, seen_ago=timedelta(minutes=1))

    with held_elsewhere(Process.objects.filter(pk=process.pk)):
        assert take(process) == []

    assert take(process) == ["release"]
