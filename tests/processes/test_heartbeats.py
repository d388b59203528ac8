"""Every process reports that it is alive, and leaves no trace if it ends in an orderly way."""

from __future__ import annotations

import os
from datetime import timedelta

import pytest

from commands_platform.lib import clock
from harness.platform import wait_until
from processes import heartbeats
from processes.heartbeats import Heartbeat, health_by_role
from processes.models import Process, Role
from tests.factories import make_process


@pytest.mark.django_db(transaction=True)
def test_a_process_reports_who_it_is_and_removes_its_row_at_its_end() -> None:
    heartbeat = Heartbeat(Role.DELIVERER, version="1.2.3")
    heartbeat.note_work()
    heartbeat.start()
    wait_until(Process.objects.exists)

    process = Process.objects.get()
    assert (process.role, process.pid, process.version) == (Role.DELIVERER, os.getpid(), "1.2.3")
    assert process.host
    assert process.worked_at is not None
    assert process.started_at <= process.worked_at <= process.seen_at

    heartbeat.stop()
    wait_until(lambda: not Process.objects.exists())


@pytest.mark.django_db(transaction=True)
def test_a_report_renews_the_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeats, "REPORT_EVERY", timedelta(milliseconds=10))
    heartbeat = Heartbeat(Role.WEB, version="1")
    heartbeat.start()
    wait_until(Process.objects.exists)
    first = Process.objects.get()

    wait_until(lambda: Process.objects.get().seen_at > first.seen_at)
    heartbeat.stop()

    assert first.worked_at is None


@pytest.mark.django_db
def test_the_health_of_a_role_counts_the_processes_that_are_alive() -> None:
    make_process(Role.DELIVERER, worked_ago=timedelta(seconds=40))
    make_process(Role.DELIVERER, seen_ago=timedelta(seconds=1), worked_ago=timedelta(seconds=30))
    make_process(Role.DELIVERER, seen_ago=heartbeats.MAX_SILENCE + timedelta(seconds=1))
    make_process(Role.BEAT, seen_ago=timedelta(minutes=5))

    health = health_by_role()

    assert set(health) == {Role.DELIVERER, Role.BEAT}
    assert (health[Role.DELIVERER].alive, health[Role.BEAT].alive) == (2, 0)
    assert health[Role.DELIVERER].seen_ago < timedelta(seconds=20)
    worked_ago = health[Role.DELIVERER].worked_ago
    assert worked_ago is not None
    assert timedelta(seconds=30) <= worked_ago < timedelta(seconds=40)
    assert health[Role.BEAT].worked_ago is None


@pytest.mark.django_db
def test_rows_of_dead_processes_are_removed_after_an_hour() -> None:
    make_process(Role.WEB, seen_ago=heartbeats.KEEP_DEAD + timedelta(minutes=1))
    kept = make_process(Role.WEB, seen_ago=heartbeats.KEEP_DEAD - timedelta(minutes=1))

    heartbeats.remove_dead()

    assert Process.objects.get() == kept
    assert kept.seen_at < clock.now()
