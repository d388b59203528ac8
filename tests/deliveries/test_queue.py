"""Each delivery has one sender at a time, by its lease."""

from __future__ import annotations

import threading
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import connection

from commands_platform.lib import clock
from deliveries import ledger, outcomes, queue
from deliveries.lanes import Lane
from deliveries.models import Delivery, Kind, Reason, State
from deliveries.sender import Sender
from outbound.address_guard import origin_of
from tests.deliveries.senders import due_again
from tests.factories import make_command, make_delivery
from tests.receiver import Receiver

pytestmark = pytest.mark.django_db(transaction=True)


def test_an_abandoned_claim_is_sent_again_after_its_lease(sender: Sender, receiver: Receiver) -> None:
    delivery = make_delivery(url=receiver.url)
    queue.claim(limit=10, lease=timedelta(seconds=60))
    sender.drain()
    assert receiver.requests == []

    due_again(delivery)
    sender.drain()

    (request,) = receiver.requests
    assert request.webhook_id == str(delivery.pk)
    assert request.json["scheduled_execution"]["attempt"] == 2


def test_an_outcome_whose_lease_is_lost_is_not_written() -> None:
    delivery = make_delivery()
    (stale,) = queue.claim(limit=1, lease=timedelta(seconds=0))
    (ours,) = queue.claim(limit=1, lease=timedelta(seconds=60))

    written = outcomes.record([outcomes.Outcome(stale.id, stale.lease, State.FAILED, Reason.REJECTED)])
    outcomes.record([outcomes.Outcome(ours.id, ours.lease, State.DELIVERED, status=200)])

    delivery.refresh_from_db()
    assert written == outcomes.Recorded(0, [])
    assert delivery.state == State.DELIVERED


def test_two_claims_never_share_a_row() -> None:
    for _ in range(50):
        make_delivery()
    barrier = threading.Barrier(2)
    claimed: list[list[queue.Claim]] = []

    def claim() -> None:
        barrier.wait()
        claimed.append(queue.claim(limit=30, lease=timedelta(seconds=60)))
        connection.close()

    threads = [threading.Thread(target=claim) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    first, second = ({claim.id for claim in claims} for claims in claimed)
    assert len(first) + len(second) == 50
    assert not first & second


def test_the_ledger_has_one_row_for_a_slot() -> None:
    command = make_command()
    now = clock.now()
    row = ledger.NewRow(
        command.organization_id, command.pk, None, Kind.SCHEDULED, uuid4(), now, url="http://x/", body="{}"
    )

    written = [ledger.insert([row], now=now) for _ in range(2)]

    assert written == [1, 0]
    assert Delivery.objects.count() == 1


def test_a_delivery_fails_after_waiting_too_long_for_an_origin_that_does_not_answer(receiver: Receiver) -> None:
    command, origin = make_command(), origin_of(receiver.url)
    old = make_delivery(command, url=receiver.url, origin=origin, now=clock.now() - timedelta(hours=25))
    new = make_delivery(command, url=receiver.url, origin=origin)

    expired = outcomes.expire(lane=Lane(command.organization_id, origin), limit=10)

    assert expired == 1
    for row in (old, new):
        row.refresh_from_db()
    assert (old.state, old.reason) == (State.FAILED, Reason.EXPIRED)
    assert new.state == State.PENDING


@pytest.mark.parametrize("table", ["deliveries_queue", "scheduling_scheduledexecution"])
def test_tables_that_change_all_the_time_are_vacuumed_often(table: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT reloptions FROM pg_class WHERE relname = %s", [table])
        (options,) = cursor.fetchone()

    assert "autovacuum_vacuum_scale_factor=0.02" in options
    assert "autovacuum_analyze_scale_factor=0.02" in options
