"""Cancelled deliveries, and those of inactive commands and users, are not sent."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction

from deliveries import outcomes, queue
from deliveries.models import Reason, State
from deliveries.sender import Sender
from deliveries.services import cancel_pending
from tests.deliveries.senders import due_again
from tests.factories import make_command, make_delivery, make_user
from tests.locks import wait_for_waiters
from tests.receiver import Receiver

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_cancelled_delivery_is_not_sent(sender: Sender, receiver: Receiver) -> None:
    delivery = make_delivery(url=receiver.url)

    cancel_pending(source_uuids=[delivery.source_uuid], reason=Reason.SCHEDULE_PAUSED)
    sender.drain()

    delivery.refresh_from_db()
    assert (delivery.state, delivery.reason) == (State.CANCELLED, Reason.SCHEDULE_PAUSED)
    assert receiver.requests == []


@pytest.mark.parametrize(
    ("answer", "state", "reason"),
    [
        (State.DELIVERED, State.DELIVERED, ""),
        (State.PENDING, State.CANCELLED, Reason.SCHEDULE_DELETED),
        (State.FAILED, State.FAILED, Reason.REJECTED),
    ],
)
def test_a_cancellation_in_mid_flight_prevents_a_retry_but_not_a_success(
    answer: State, state: State, reason: str
) -> None:
    delivery = make_delivery()
    (claim,) = queue.claim(limit=1, lease=timedelta(seconds=60))
    cancel_pending(source_uuids=[delivery.source_uuid], reason=Reason.SCHEDULE_DELETED)

    retry_in = timedelta(seconds=5) if answer == State.PENDING else None
    why = Reason.REJECTED if answer == State.FAILED else ""
    outcomes.record([outcomes.Outcome(claim.id, claim.lease, answer, why, retry_in=retry_in)])

    delivery.refresh_from_db()
    assert (delivery.state, delivery.reason) == (state, reason)


def test_a_cancelled_delivery_whose_sender_died_ends_without_being_sent(sender: Sender, receiver: Receiver) -> None:
    delivery = make_delivery(url=receiver.url)
    queue.claim(limit=1, lease=timedelta(seconds=60))
    cancel_pending(source_uuids=[delivery.source_uuid], reason=Reason.SCHEDULE_DELETED)
    due_again(delivery)

    sender.drain()

    delivery.refresh_from_db()
    assert (delivery.state, delivery.reason) == (State.CANCELLED, Reason.SCHEDULE_DELETED)
    assert receiver.requests == []


@pytest.mark.parametrize(
    ("deactivate", "reason"),
    [
        ("command", Reason.COMMAND_INACTIVE),
        ("organization", Reason.ORGANIZATION_INACTIVE),
        ("user", Reason.USER_INACTIVE),
    ],
)
def test_nothing_is_sent_for_inactive_parties(
    sender: Sender, receiver: Receiver, deactivate: str, reason: Reason
) -> None:
    user = make_user()
    command = make_command(user.organization)
    delivery = make_delivery(command, user=user, url=receiver.url)
    rows: dict[str, Any] = {"command": command, "organization": user.organization, "user": user}
    rows[deactivate].is_active = False
    rows[deactivate].save(update_fields=["is_active"])

    sender.drain()

    delivery.refresh_from_db()
    assert (delivery.state, delivery.reason) == (State.SKIPPED, reason)
    assert receiver.requests == []


def test_a_cancellation_and_an_outcome_can_be_recorded_concurrently() -> None:
    """A sender records a retry, and releases its lease, at the very moment of the cancellation."""
    delivery = make_delivery()
    (claim,) = queue.claim(limit=1, lease=timedelta(seconds=60))
    recorded, go_on = threading.Event(), threading.Event()

    def record() -> None:
        try:
            with transaction.atomic():
                outcomes.record([outcomes.Outcome(claim.id, claim.lease, State.PENDING, retry_in=timedelta(seconds=5))])
                recorded.set()
                go_on.wait(10)
        finally:
            connection.close()

    def cancel() -> None:
        try:
            cancel_pending(source_uuids=[delivery.source_uuid], reason=Reason.SCHEDULE_PAUSED)
        finally:
            connection.close()

    threads = [threading.Thread(target=record), threading.Thread(target=cancel)]
    threads[0].start()
    recorded.wait(10)
    threads[1].start()
    wait_for_waiters()
    go_on.set()
    for thread in threads:
        thread.join()

    delivery.refresh_from_db()
    assert (delivery.state, delivery.reason) == (State.CANCELLED, Reason.SCHEDULE_PAUSED)
