"""A row that kills its senders finally fails, and does not harm other rows. No counter can overflow."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise

import pytest

from commands_platform.lib import clock
from deliveries import outcomes, queue
from deliveries.models import MAX_SMALLINT, Delivery, Reason, State
from deliveries.sender import MAX_LOST_CLAIMS, Sender
from deliveries.services import MAX_KEPT_ATTEMPTS, redeliver
from deliveries.transfer import Transfer
from tests.deliveries.senders import due_again, make_sender
from tests.factories import make_delivery
from tests.receiver import Answer, Receiver

pytestmark = pytest.mark.django_db(transaction=True)

MINUTE = timedelta(minutes=1)


def lose_claims(delivery: Delivery, count: int) -> None:
    """Makes the row look as if that many senders had died while sending it."""
    for _ in range(count):
        assert queue.claim(limit=1, lease=MINUTE)
        due_again(delivery)


def test_a_row_whose_claims_are_always_lost_ends_as_poison(sender: Sender, receiver: Receiver) -> None:
    delivery = make_delivery(url=receiver.url, max_attempts=2)
    lose_claims(delivery, 2 + MAX_LOST_CLAIMS)

    sender.drain()

    delivery.refresh_from_db()
    assert (delivery.state, delivery.reason) == (State.FAILED, Reason.POISON)
    assert delivery.attempts == []
    assert receiver.requests == []


def test_a_row_with_a_few_lost_claims_is_still_sent(sender: Sender, receiver: Receiver) -> None:
    delivery = make_delivery(url=receiver.url, max_attempts=2)
    lose_claims(delivery, 1 + MAX_LOST_CLAIMS)

    sender.drain()

    delivery.refresh_from_db()
    assert delivery.state == State.DELIVERED


def test_a_released_claim_does_not_count() -> None:
    delivery = make_delivery(max_attempts=2)

    for _ in range(20):
        outcomes.release(queue.claim(limit=1, lease=MINUTE))

    delivery.refresh_from_db()
    assert (delivery.attempt_count, delivery.lease) == (0, None)


def test_a_delivery_that_was_never_sent_has_no_attempts(sender: Sender, receiver: Receiver) -> None:
    delivery = make_delivery(url=receiver.url)
    delivery.command.is_active = False
    delivery.command.save(update_fields=["is_active"])

    sender.drain()

    delivery.refresh_from_db()
    assert (delivery.state, delivery.attempt_count) == (State.SKIPPED, 0)


def test_a_row_that_may_kill_its_sender_is_sent_alone(receiver: Receiver) -> None:
    """If it kills the process, no claim of another row is lost with it."""
    sender = make_sender(window=50)
    suspect = make_delivery(url=receiver.url, now=clock.now() - timedelta(seconds=1))
    lose_claims(suspect, 2)
    others = [make_delivery(url=f"{receiver.url}/other") for _ in range(10)]
    run = sender._begin_run()

    run.intake.take(queue.claim(limit=50, lease=MINUTE))
    began = [run.intake.next_suspect()]

    assert [claim and claim.id for claim in began] == [suspect.pk]
    rows = Delivery.objects.filter(pk__in=[each.pk for each in others])
    assert set(rows.values_list("lease", "attempt_count")) == {(None, 0)}
    outcomes.release([claim for claim in began if claim])
    sender.drain()
    assert not Delivery.objects.exclude(state=State.DELIVERED).exists()
    assert len(receiver.requests) == 11


def test_two_rows_that_may_kill_their_sender_are_never_sent_together(receiver: Receiver) -> None:
    receiver.always_answer(lambda _: Answer(delay=0.2))
    suspects = [make_delivery(url=receiver.url) for _ in range(3)]
    for suspect in suspects:
        Delivery.objects.filter(pk=suspect.pk).update(attempt_count=2)

    make_sender().drain()

    times = sorted(request.at for request in receiver.requests)
    assert len(times) == 3
    assert all(later - earlier >= 0.2 for earlier, later in pairwise(times))


def test_no_claim_overflows_a_counter(sender: Sender) -> None:
    delivery = make_delivery(attempt_count=MAX_SMALLINT, max_attempts=MAX_SMALLINT, attempts_before=MAX_SMALLINT)

    for _ in range(3):
        queue.claim(limit=1, lease=MINUTE)
        due_again(delivery)

    delivery.refresh_from_db()
    assert delivery.attempt_count == MAX_SMALLINT


def test_a_delivery_can_be_redelivered_up_to_the_maximum_number_of_attempts() -> None:
    delivery = make_delivery(max_attempts=8)
    redelivered = 0
    for attempts in range(0, MAX_KEPT_ATTEMPTS + 10, 5):
        Delivery.objects.filter(pk=delivery.pk).update(
            attempt_count=attempts,
            state=State.FAILED,
            reason=Reason.EXPIRED,
            next_attempt_at=None,
            finished_at=clock.now(),
        )
        count = redeliver(deliveries=Delivery.objects.filter(pk=delivery.pk))
        redelivered += count
        delivery.refresh_from_db()
        if count:
            assert (delivery.attempts_before, delivery.max_attempts) == (attempts, attempts + 8)

    assert redelivered == MAX_KEPT_ATTEMPTS / 5


def test_a_redelivery_stays_within_its_counters() -> None:
    delivery = make_delivery(
        attempt_count=MAX_KEPT_ATTEMPTS - 1,
        max_attempts=MAX_SMALLINT,
        state=State.FAILED,
        reason=Reason.EXPIRED,
        next_attempt_at=None,
        finished_at=clock.now(),
    )

    assert redeliver(deliveries=Delivery.objects.filter(pk=delivery.pk)) == 1

    delivery.refresh_from_db()
    assert delivery.max_attempts == MAX_SMALLINT


def test_a_sender_without_suspects_does_not_go_through_its_requests_in_flight(sender: Sender) -> None:
    class Unscanned(set[Transfer]):
        def __iter__(self) -> Iterator[Transfer]:
            raise AssertionError("The sender looked at each request in flight.")

    sender._busy = Unscanned()

    sender._start(sender._begin_run())
