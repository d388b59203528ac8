"""Finished deliveries can be redelivered."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from commands_platform.lib import clock
from deliveries.models import Delivery, Reason, State
from deliveries.sender import Sender
from deliveries.services import MAX_KEPT_ATTEMPTS, is_redeliverable, redeliver, redeliverable
from tests.deliveries.senders import due_again
from tests.factories import make_delivery
from tests.receiver import Answer, Receiver

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("max_attempts", [2, 3, 20])
def test_a_redelivery_starts_again_with_the_shortest_wait(
    sender: Sender, receiver: Receiver, max_attempts: int
) -> None:
    receiver.always_answer(lambda _: Answer(503))
    delivery = make_delivery(url=receiver.url, max_attempts=max_attempts)
    for _ in range(2):
        before = clock.now()
        sender.drain()
        delivery.refresh_from_db()
        if delivery.next_attempt_at is not None and delivery.attempt_count == 1:
            assert delivery.next_attempt_at - before <= timedelta(seconds=8)
        due_again(delivery) if Delivery.objects.pending().exists() else None
    Delivery.objects.filter(pk=delivery.pk).update(
        state=State.FAILED, reason=Reason.RETRIES_EXHAUSTED, next_attempt_at=None, finished_at=clock.now()
    )

    redeliver(deliveries=Delivery.objects.filter(pk=delivery.pk))
    before = clock.now()
    sender.drain()

    delivery.refresh_from_db()
    assert delivery.max_attempts == 2 + max_attempts
    assert delivery.next_attempt_at is not None
    assert delivery.next_attempt_at - before <= timedelta(seconds=8)


@pytest.mark.parametrize(("max_attempts", "hours"), [(3, 24), (8, 24), (9, 36), (20, 168)])
def test_a_redelivery_expires_as_late_as_the_first_delivery(max_attempts: int, hours: int) -> None:
    delivery = make_delivery(max_attempts=max_attempts)
    for attempts_made in (2, 4):
        Delivery.objects.update(
            state=State.FAILED,
            reason=Reason.EXPIRED,
            attempt_count=attempts_made,
            next_attempt_at=None,
            finished_at=clock.now(),
        )
        before = clock.now()

        redeliver(deliveries=Delivery.objects.all())

        delivery.refresh_from_db()
        assert timedelta(0) <= delivery.expires_at - before - timedelta(hours=hours) < timedelta(seconds=5)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"state": State.DELIVERED}, True),
        ({"state": State.FAILED, "reason": Reason.REJECTED}, True),
        ({"state": State.CANCELLED, "reason": Reason.SCHEDULE_PAUSED}, True),
        ({"state": State.SKIPPED, "reason": Reason.MISSED}, False),
        ({"state": State.PENDING}, False),
        ({"state": State.DELIVERED, "url": ""}, False),
        ({"state": State.DELIVERED, "attempt_count": MAX_KEPT_ATTEMPTS}, False),
    ],
)
def test_the_rules_for_one_row_and_for_a_query_agree(values: dict[str, Any], expected: bool) -> None:
    finished: dict[str, Any] = (
        {} if values["state"] == State.PENDING else {"next_attempt_at": None, "finished_at": clock.now()}
    )
    delivery = make_delivery(**finished, **values)

    assert is_redeliverable(delivery) == expected
    assert redeliverable(Delivery.objects.all()).exists() == expected


def test_a_redelivery_has_the_same_id_and_a_full_set_of_attempts(sender: Sender, receiver: Receiver) -> None:
    receiver.answer_with(Answer(404), Answer(503))
    delivery = make_delivery(url=receiver.url)
    sender.drain()

    redeliver(deliveries=Delivery.objects.filter(pk=delivery.pk))
    sender.drain()

    delivery.refresh_from_db()
    assert delivery.state == State.PENDING
    assert {request.webhook_id for request in receiver.requests} == {str(delivery.pk)}
    assert len(delivery.attempts) == 2
