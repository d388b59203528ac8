"""A process is lost if it is silent while others report, or has ended on this machine."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from commands_platform.lib import clock
from processes import losses, machine
from processes.heartbeats import MAX_REPORT_GAP, Heartbeat
from processes.losses import LOST_AFTER, STEADY_FOR, Candidate, Losses, take_over
from processes.machine import has_ended, this_machine
from processes.models import Process, Role
from tests.factories import make_process
from tests.locks import held_elsewhere

pytestmark = pytest.mark.django_db

A_MOMENT = timedelta(milliseconds=500)


def look(finder: Losses | None = None) -> list[Any]:
    return [each.id for each in (finder or Losses(Role.DELIVERER)).look()]


@pytest.fixture
def witness() -> Process:
    return make_process(Role.WEB)


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process
        process.kill()


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


def test_a_process_that_has_ended_on_this_machine_is_lost_at_the_second_look(
    child: subprocess.Popen[bytes],
) -> None:
    killed = make_process(Role.DELIVERER, machine=this_machine(), pid=child.pid)
    finder = Losses(Role.DELIVERER)
    assert look(finder) == look(finder) == []

    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)

    assert [look(finder), look(finder)] == [[], [killed.pk]]


def test_a_process_on_another_machine_is_not_judged_by_its_pid(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.wait()
    make_process(Role.DELIVERER, machine="another", pid=child.pid)
    make_process(Role.DELIVERER, machine="", pid=child.pid)
    finder = Losses(Role.DELIVERER)

    assert look(finder) == look(finder) == []


def test_without_a_proc_file_system_no_process_is_judged_by_its_pid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "_PROC", tmp_path)

    assert this_machine.__wrapped__() == ""


def test_this_process_has_not_ended() -> None:
    assert not has_ended(os.getpid())


def take(process: Process, *, is_all_released: bool = True) -> list[str]:
    calls = []

    def release() -> bool:
        calls.append("release")
        return is_all_released

    take_over(Candidate(process.pk, "a", "", 1, process.seen_at, is_silent=True), release)
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


def test_only_processes_of_the_role_are_looked_for() -> None:
    make_process(Role.DELIVERER, id=uuid4(), machine=this_machine(), pid=os.getpid())

    assert losses.Losses(Role.BEAT).look() == []
