"""A herd is dispatched in batches, and its receivers take turns."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction

from commands_platform.lib import clock
from deliveries.models import Delivery, State
from scheduling import ahead, dispatch, tasks
from scheduling.models import ScheduledExecution
from tests.factories import make_command
from tests.scheduling.dispatching import URL, dispatch_at, make_due
from tests.scheduling.schedules import MINUTE, NOON, rows_of

pytestmark = pytest.mark.django_db


def test_one_call_dispatches_more_than_one_batch(settings: Any) -> None:
    settings.DISPATCH_BATCH = 10
    command = make_command(callback_url=URL)
    for _ in range(25):
        make_due(command=command)

    assert dispatch_at(NOON) == 25

    assert Delivery.objects.count() == 25


def test_a_batch_costs_the_same_statements_for_one_schedule_and_for_many(django_assert_max_num_queries: Any) -> None:
    command = make_command(callback_url=URL)
    for _ in range(50):
        make_due(command=command)

    dispatch_at(NOON - timedelta(milliseconds=100))
    with django_assert_max_num_queries(8):
        dispatch_at(NOON)

    assert Delivery.objects.count() == 50


@pytest.mark.django_db(transaction=True)
def test_two_concurrent_dispatchers_write_each_slot_once() -> None:
    command = make_command(callback_url=URL)
    for _ in range(60):
        make_due(command=command)
    barrier = threading.Barrier(3)

    def run() -> None:
        barrier.wait()
        try:
            with transaction.atomic():
                dispatch.write_due_batch(NOON, limit=1000)
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert Delivery.objects.count() == 60
    assert not ScheduledExecution.objects.filter(next_run_at=NOON).exists()


@pytest.mark.django_db(transaction=True)
def test_a_locked_schedule_is_skipped_and_found_the_next_time() -> None:
    schedule = make_due()
    locked, release = threading.Event(), threading.Event()

    def hold() -> None:
        try:
            with transaction.atomic():
                ScheduledExecution.objects.select_for_update().get(pk=schedule.pk)
                locked.set()
                release.wait(10)
        finally:
            connection.close()

    holder = threading.Thread(target=hold)
    holder.start()
    locked.wait(10)
    assert dispatch_at(NOON) == 0
    release.set()
    holder.join()

    assert dispatch_at(NOON) == 1


def test_a_herd_with_large_payloads_is_dispatched_in_smaller_batches() -> None:
    command = make_command(callback_url=URL)
    for _ in range(40):
        make_due(command=command, payload={"text": "x" * 250_000})

    with clock.replaced_by(lambda: NOON):
        first = dispatch.write_due_batch(NOON, limit=1000)
    written = dispatch_at(NOON)

    assert first == (True, 17)
    assert written == 23


def test_a_schedule_that_may_be_very_late_takes_turns_with_others() -> None:
    late = make_due(
        execution_frequency=1,
        anchor_at=NOON - timedelta(minutes=10, seconds=1),
        next_run_at=NOON - timedelta(minutes=10),
        misfire_grace=3600,
    )

    with clock.replaced_by(lambda: NOON):
        more, rows = dispatch.write_due_batch(NOON, limit=1000)
    assert (more, rows) == (True, 21)
    dispatch_at(NOON)

    assert Counter(row.state for row in rows_of(late)) == {State.SKIPPED: 1, State.PENDING: 100}


def test_the_receivers_of_a_herd_take_turns() -> None:
    """Many callbacks for one receiver are due at the same instant as a few for another."""
    crowded, quiet = make_command(callback_url=URL), make_command(callback_url="https://quiet.example.com/hook")
    for _ in range(800):
        make_due(command=crowded)
    others = [make_due(command=quiet) for _ in range(5)]

    dispatch_at(NOON)

    written = list(Delivery.objects.order_by("id").values_list("source_uuid", flat=True))
    assert len(written) == 805
    assert max(written.index(other.uuid) for other in others) < 510


def test_newly_due_schedules_are_found_behind_a_long_backlog(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "_HERD_OLDEST", 150)
    monkeypatch.setattr(dispatch, "_HERD_NEWEST", 10)
    late = make_command(callback_url=URL)
    for _ in range(600):
        make_due(command=late, anchor_at=NOON - timedelta(seconds=64), next_run_at=NOON - timedelta(seconds=4))
    fresh = make_due(command=make_command(callback_url="https://quiet.example.com/hook"))

    dispatch_at(NOON)

    written = list(Delivery.objects.order_by("id").values_list("source_uuid", flat=True))
    assert len(written) == 601
    assert written.index(fresh.uuid) < 500


def test_an_organization_does_not_wait_for_herds_that_are_due_at_the_same_instant(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.DISPATCH_BATCH = 10
    monkeypatch.setattr(dispatch, "_HERD_OLDEST", 20)
    monkeypatch.setattr(dispatch, "_HERD_NEWEST", 10)
    before, quiet, after = (make_command(callback_url=URL) for _ in range(3))
    for _ in range(60):
        make_due(command=before)
    schedule = make_due(command=quiet)
    for _ in range(60):
        make_due(command=after)

    assert dispatch_at(NOON) == 121

    written = list(Delivery.objects.order_by("id").values_list("source_uuid", flat=True))
    assert written.index(schedule.uuid) < 20


def test_organizations_take_turns_and_so_do_their_receivers(settings: Any) -> None:
    settings.DISPATCH_BATCH = 10
    large, small = make_command(callback_url=URL), make_command(callback_url="https://small.example.com/hook")
    for number in range(60):
        make_due(command=large, callback_url=f"https://receiver-{number}.example.com/hook")
    schedules = [make_due(command=small) for _ in range(8)]

    dispatch_at(NOON)

    written = list(Delivery.objects.order_by("id").values_list("source_uuid", flat=True))
    assert max(written.index(schedule.uuid) for schedule in schedules) < 30


@pytest.mark.parametrize(("count", "asked"), [(60, 1), (15, 0)], ids=["herd", "few"])
def test_a_dispatcher_asks_for_help_with_a_herd_once(
    settings: Any, monkeypatch: pytest.MonkeyPatch, count: int, asked: int
) -> None:
    settings.DISPATCH_BATCH = 10
    monkeypatch.setattr(dispatch, "_MIN_HERD", 20)
    command = make_command(callback_url=URL)
    for _ in range(count):
        make_due(command=command)
    calls = []

    with clock.replaced_by(lambda: NOON):
        dispatch.dispatch_due(ask_for_help=lambda: calls.append(Delivery.objects.count()))

    assert len(calls) == asked
    assert all(written < count for written in calls)


def test_help_is_asked_for_with_a_herd_that_is_written_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "_MIN_HERD", 4)
    monkeypatch.setattr(ahead, "_AHEAD_BATCH", 2)
    command = make_command(callback_url=URL)
    for _ in range(10):
        make_due(command=command)
    calls = []

    with clock.replaced_by(lambda: NOON - timedelta(milliseconds=500)):
        assert dispatch.dispatch_ahead(ask_for_help=lambda: calls.append(Delivery.objects.count())) == 10

    assert calls == [4]


def test_a_helper_writes_what_is_due_and_what_is_coming() -> None:
    command = make_command(callback_url=URL)
    make_due(command=command)
    make_due(command=command, execution_frequency=0, repeats=1, next_run_at=NOON - timedelta(seconds=1))

    with clock.replaced_by(lambda: NOON - timedelta(milliseconds=500)):
        assert dispatch.help_with_herd() == 2


@pytest.mark.parametrize("task", [tasks.tick, tasks.dispatch_due, tasks.dispatch_ahead, tasks.help_with_herd])
def test_every_task_sends_the_hint_that_asks_for_help(
    task: Callable[[], None], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.DISPATCH_BATCH = 2
    monkeypatch.setattr(dispatch, "_MIN_HERD", 4)
    monkeypatch.setattr(ahead, "_AHEAD_BATCH", 2)
    hints = []
    monkeypatch.setattr(tasks, "send_hint", lambda hint: hints.append(hint.name))
    command = make_command(callback_url=URL)
    for next_run_at in (NOON, NOON - MINUTE):
        for _ in range(10):
            make_due(command=command, next_run_at=next_run_at, anchor_at=next_run_at)

    with clock.replaced_by(lambda: NOON - timedelta(milliseconds=500)):
        task()

    assert set(hints) == {"scheduling.help_with_herd"}


def test_slots_of_a_new_second_do_not_wait_for_the_round_of_a_backlog(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.DISPATCH_BATCH = 10
    monkeypatch.setattr(dispatch, "_MIN_HERD", 30)
    late = make_command(callback_url=URL)
    for _ in range(200):
        make_due(command=late, anchor_at=NOON - timedelta(seconds=64), next_run_at=NOON - timedelta(seconds=4))
    fresh = make_due(command=make_command(callback_url="https://quiet.example.com/hook"), execution_frequency=0)
    now = [NOON - timedelta(milliseconds=10)]

    def reach_noon() -> None:
        now[0] = NOON

    with clock.replaced_by(lambda: now[0]):
        dispatch.dispatch_due(ask_for_help=reach_noon)

    written = list(Delivery.objects.order_by("id").values_list("source_uuid", flat=True))
    assert len(written) == 201
    assert written.index(fresh.uuid) < 60
