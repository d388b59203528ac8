"""The ledger has a partition for each day, and a slot is unique across them and the queue."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import connection, transaction

from commands_platform.lib import clock
from deliveries import ledger, partitions, services
from deliveries.ledger import NewRow
from deliveries.models import Delivery, Kind, Reason, State
from organizations.models import Command
from tests.factories import make_command, make_delivery
from tests.locks import wait_for_waiters
from tests.threads import Threads

pytestmark = pytest.mark.django_db(transaction=True)

DAY = timedelta(days=1)


@pytest.fixture
def command() -> Command:
    return make_command()


@pytest.fixture(autouse=True)
def partitions_as_before() -> Iterator[None]:
    before = names_of_partitions()
    yield
    with connection.cursor() as cursor:
        for name in names_of_partitions() - before:
            cursor.execute(f"DROP TABLE {name}")


def names_of_partitions() -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'deliveries_finished'::regclass"
        )
        return {name for (name,) in cursor.fetchall()}


def table_of(delivery: Delivery) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT tableoid::regclass::text FROM deliveries_delivery WHERE id = %s", [delivery.pk])
        (name,) = cursor.fetchone()
        return str(name)


def end(delivery: Delivery, *, state: State = State.DELIVERED, at: datetime | None = None) -> None:
    reason = "" if state == State.DELIVERED else Reason.REJECTED
    Delivery.objects.filter(pk=delivery.pk).update(
        state=state, reason=reason, next_attempt_at=None, finished_at=at or clock.now()
    )


def make_ended(command: Command, *, days_ago: float, finished_days_ago: float | None = None, **values: Any) -> Delivery:
    now = clock.now()
    delivery = make_delivery(command, due_at=now - days_ago * DAY)
    end(delivery, at=now - DAY * (days_ago if finished_days_ago is None else finished_days_ago), **values)
    return delivery


def make_partitions_of_past(days: int) -> None:
    """Makes the partitions as they would have been made some days ago."""
    then = clock.now() - days * DAY
    with clock.replaced_by(lambda: then):
        partitions.make_ahead()


def new_row(command: Command, *, source: UUID, due_at: datetime, skipped: Reason | None = None) -> NewRow:
    return NewRow(
        organization_id=command.organization_id,
        command_id=command.pk,
        user_id=None,
        kind=Kind.SCHEDULED,
        source_uuid=source,
        due_at=due_at,
        url="http://127.0.0.1:9/callback",
        origin="http://127.0.0.1:9",
        skipped=skipped,
    )


def test_a_delivery_moves_from_the_queue_to_its_day_when_it_ends(command: Command) -> None:
    delivery = make_delivery(command)
    assert table_of(delivery) == "deliveries_queue"

    end(delivery)

    assert table_of(delivery) == f"deliveries_finished_{delivery.due_at.astimezone(UTC):%Y%m%d}"


def test_a_delivery_of_a_day_without_a_partition_is_kept_all_the_same(command: Command) -> None:
    assert table_of(make_ended(command, days_ago=200)) == "deliveries_finished_other"


def test_a_slot_that_was_finished_is_not_queued_again(command: Command) -> None:
    delivery = make_ended(command, days_ago=0)

    again = new_row(command, source=delivery.source_uuid, due_at=delivery.due_at)

    assert ledger.insert([again], now=clock.now()) == 0
    assert list(Delivery.objects.of_source(delivery.source_uuid)) == [delivery]


def test_a_slot_that_is_queued_is_not_skipped_as_well(command: Command) -> None:
    delivery = make_delivery(command)

    again = new_row(command, source=delivery.source_uuid, due_at=delivery.due_at, skipped=Reason.MISSED)

    assert ledger.insert([again], now=clock.now()) == 0
    assert list(Delivery.objects.of_source(delivery.source_uuid)) == [delivery]


def test_a_slot_that_is_finished_while_it_is_found_due_again_is_written_once(
    command: Command, threads: Threads
) -> None:
    delivery = make_delivery(command)
    again = new_row(command, source=delivery.source_uuid, due_at=delivery.due_at)

    with transaction.atomic():
        end(delivery)
        # It has begun before the row is seen to be finished, and waits for the row of the queue.
        insert = threads.start(lambda: ledger.insert([again], now=clock.now()))
        wait_for_waiters()

    assert insert.result(20) == 0
    assert list(Delivery.objects.of_source(delivery.source_uuid)) == [delivery]


def test_a_cancellation_leaves_a_delivery_that_ends_at_the_same_time(command: Command, threads: Threads) -> None:
    delivery = make_delivery(command)

    with transaction.atomic():
        end(delivery)
        cancellation = threads.start(
            lambda: services.cancel_pending(source_uuids=[delivery.source_uuid], reason=Reason.SCHEDULE_DELETED)
        )
        wait_for_waiters()

    assert cancellation.result(20) is None
    delivery.refresh_from_db()
    assert delivery.state == State.DELIVERED


def test_a_delivery_that_two_operators_redeliver_at_once_is_queued_once(command: Command, threads: Threads) -> None:
    delivery = make_ended(command, days_ago=0)
    rows = Delivery.objects.filter(pk=delivery.pk)

    with transaction.atomic():
        assert services.redeliver(deliveries=rows) == 1
        other = threads.start(lambda: services.redeliver(deliveries=rows))
        wait_for_waiters()

    assert other.result(20) == 0


def test_partitions_are_made_for_the_next_days(command: Command) -> None:
    then = clock.now() + 300 * DAY
    with clock.replaced_by(lambda: then):
        assert partitions.make_ahead() == partitions.DAYS_AHEAD + 1
        assert partitions.make_ahead() == 0


def test_a_partition_takes_the_rows_that_came_before_it(command: Command) -> None:
    delivery = make_ended(command, days_ago=200)

    make_partitions_of_past(200)

    assert table_of(delivery) == f"deliveries_finished_{delivery.due_at.astimezone(UTC):%Y%m%d}"


def test_a_day_is_dropped_when_all_its_rows_are_old(command: Command) -> None:
    make_partitions_of_past(40)
    old, young = make_ended(command, days_ago=35), make_ended(command, days_ago=29)
    table = table_of(old)

    assert partitions.drop_expired() > 0

    assert list(Delivery.objects.all()) == [young]
    assert table not in names_of_partitions()


def test_failures_and_late_rows_stay_when_their_day_is_dropped(command: Command) -> None:
    make_partitions_of_past(40)
    make_ended(command, days_ago=35)
    failure = make_ended(command, days_ago=35, state=State.FAILED)
    late = make_ended(command, days_ago=35, finished_days_ago=3)

    partitions.drop_expired()

    assert set(Delivery.objects.all()) == {failure, late}
    assert table_of(failure).endswith("_rest")
    assert partitions.drop_expired() == 0


def test_failures_are_dropped_when_they_are_old(command: Command) -> None:
    make_partitions_of_past(95)
    make_ended(command, days_ago=95, state=State.FAILED)
    late = make_ended(command, days_ago=95, state=State.FAILED, finished_days_ago=80)

    partitions.drop_expired()
    assert list(Delivery.objects.all()) == [late]
    partitions.drop_expired()
    assert list(Delivery.objects.all()) == [late]


def test_a_ledger_in_use_is_left_to_a_later_call(command: Command, threads: Threads) -> None:
    make_partitions_of_past(40)
    old = make_ended(command, days_ago=35)

    with transaction.atomic():
        assert Delivery.objects.filter(pk=old.pk).exists()
        assert threads.start(partitions.drop_expired).result(20) == 0

    assert partitions.drop_expired() > 0
    assert not Delivery.objects.exists()


def test_a_finished_delivery_that_is_redelivered_returns_to_the_queue(command: Command) -> None:
    delivery = make_ended(command, days_ago=1)

    assert services.redeliver(deliveries=Delivery.objects.filter(pk=delivery.pk)) == 1

    assert table_of(delivery) == "deliveries_queue"
