"""A row that kills its senders finally fails, and does not harm other rows. No counter can overflow."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise

import pytest

from commands_platform.lib import clock
from deliveries import outcomes, queue, turns
from deliveries.intake import MAX_SUSPECTS_IN_FLIGHT
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


def lost_before(receiver: Receiver, count: int, *, lost: int) -> list[Delivery]:
    """Returns due deliveries that were lost so often, together with their senders."""
    rows = [make_delivery(url=receiver.url) for _ in range(count)]
    Delivery.objects.filter(pk__in=[row.pk for row in rows]).update(attempt_count=lost)
    return rows


def begun_and_left(sender: Sender) -> tuple[int, set[tuple[datetime | None, int]]]:
    """Claims and starts once. Returns the number of requests begun, and the lease ends and attempts of other rows."""
    run = sender._begin_run()
    run.intake.claim(idle=50, in_flight=0)
    sender._start(run)
    begun = {transfer.claim.id for transfer in sender._busy if transfer.claim}
    left = Delivery.objects.exclude(pk__in=begun).values_list("leased_until", "attempt_count")
    return len(begun), set(left)


def test_only_a_few_rows_that_may_kill_their_sender_are_sent_at_a_time(receiver: Receiver) -> None:
    lost_before(receiver, 15, lost=2)

    begun, left = begun_and_left(make_sender(window=50))

    assert begun == MAX_SUSPECTS_IN_FLIGHT
    assert {attempts for _, attempts in left} == {2}
    assert all(until is not None and until < clock.now() + timedelta(seconds=1) for until, _ in left)


def test_a_row_that_was_lost_often_is_sent_alone(receiver: Receiver) -> None:
    lost_before(receiver, 3, lost=3)

    begun, left = begun_and_left(make_sender(window=50))

    assert begun == 1
    assert {attempts for _, attempts in left} == {3}


def test_rows_that_may_kill_their_sender_leave_the_claims_of_other_rows_alone(receiver: Receiver) -> None:
    """Otherwise each of many suspects would make the sender release and claim everything else once more."""
    suspect, *others = [*lost_before(receiver, 1, lost=2), *(make_delivery(url=receiver.url) for _ in range(10))]
    sender = make_sender(window=50)
    run = sender._begin_run()
    run.intake.take(queue.claim(limit=50, lease=MINUTE))
    sender._start(run)

    rows = Delivery.objects.filter(pk__in=[each.pk for each in (suspect, *others)])
    assert set(rows.values_list("attempt_count", flat=True)) == {1, 3}
    assert not rows.filter(lease=None).exists()
    assert run.in_flight == 11


@pytest.mark.parametrize("lost", [2, 3])
def test_every_suspect_is_sent_in_its_turn(receiver: Receiver, lost: int) -> None:
    lost_before(receiver, 12, lost=lost)
    for _ in range(5):
        make_delivery(url=receiver.url)

    assert make_sender(window=50).drain() == 17

    assert not Delivery.objects.exclude(state=State.DELIVERED).exists()
    assert len(receiver.requests) == 17


def test_two_rows_that_were_lost_often_are_never_sent_together(receiver: Receiver) -> None:
    receiver.always_answer(lambda _: Answer(delay=0.2))
    lost_before(receiver, 3, lost=3)

    make_sender().drain()

    times = sorted(request.at for request in receiver.requests)
    assert len(times) == 3
    assert all(later - earlier >= 0.2 for earlier, later in pairwise(times))


def test_a_postponed_row_still_counts_as_being_sent() -> None:
    """So a run of the same schedule that waits for it does not start."""
    delivery = make_delivery(max_attempts=2)

    outcomes.postpone(queue.claim(limit=1, lease=MINUTE), by=MINUTE)

    delivery.refresh_from_db()
    assert delivery.attempt_count == 0
    assert turns.unfinished_runs([delivery.source_uuid])[delivery.source_uuid].is_one_being_sent
    assert queue.claim(limit=1, lease=MINUTE) == []


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
