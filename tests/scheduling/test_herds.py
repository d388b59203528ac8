"""A herd is dispatched in batches, and its receivers take turns."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction

from commands_platform.lib import clock
from deliveries.models import Delivery, State
from scheduling import dispatch
from scheduling.models import ScheduledExecution
from tests.factories import make_command
from tests.scheduling.dispatching import URL, dispatch_at, make_due
from tests.scheduling.schedules import NOON, rows_of

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
    with django_assert_max_num_queries(7):
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
