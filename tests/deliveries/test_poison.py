"""A row that kills its senders finally fails, and does not harm other rows. No counter can overflow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise

import pytest

from commands_platform.lib import clock
from deliveries import outcomes, queue
from deliveries.lanes import Lane, LaneSettings
from deliveries.models import MAX_SMALLINT, Delivery, Reason, State
from deliveries.sender import MAX_LOST_CLAIMS, Sender
from deliveries.services import MAX_KEPT_ATTEMPTS, redeliver
from deliveries.transfer import Transfer
from outbound.address_guard import origin_of
from processes.standing import Standing
from tests.deliveries.senders import due_again, make_sender
from tests.factories import make_attempt, make_command, make_delivery
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


@pytest.mark.parametrize(("lost", "most"), [(1, 25), (2, 5), (3, 1), (4, 1)])
def test_the_more_often_rows_were_lost_the_fewer_of_them_are_sent_at_a_time(
    receiver: Receiver, lost: int, most: int
) -> None:
    lost_before(receiver, 30, lost=lost)

    sender = make_sender(window=50, lanes=LaneSettings(first=50))
    run = sender._begin_run()
    run.intake.claim(idle=50, in_flight=0)
    sender._start(run)

    assert run.in_flight == most


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


def test_suspects_find_room_in_a_lane_with_a_backlog(receiver: Receiver) -> None:
    command = make_command()
    origin = origin_of(receiver.url)
    for _ in range(10):
        make_delivery(command, url=receiver.url, origin=origin)
    suspect = make_delivery(command, url=receiver.url, origin=origin, attempt_count=1)
    sender = make_sender(window=50, lanes=LaneSettings(first=5))
    run = sender._begin_run()

    run.intake.claim(idle=50, in_flight=0)
    sender._start(run)

    assert run.in_flight == 5
    assert suspect.pk in {transfer.claim.id for transfer in sender._busy if transfer.claim}


@pytest.mark.parametrize("lost", [1, 2, 3])
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


def test_a_suspect_that_was_not_sent_before_its_sender_died_is_no_more_suspect_than_before(receiver: Receiver) -> None:
    holder = Standing()
    lost_before(receiver, 8, lost=2)
    make_delivery(url=receiver.url)
    sender = make_sender(window=50, standing=holder)
    run = sender._begin_run()
    run.intake.claim(idle=50, in_flight=0)
    sender._start(run)

    outcomes.end_leases(holder.id)

    claims = queue.claim(limit=50, lease=MINUTE)
    assert Counter(claim.lost for claim in claims) == {1: 1, 2: 3, 3: 5}


def test_a_sender_that_has_just_been_started_sends_no_suspects_yet(receiver: Receiver) -> None:
    lost_before(receiver, 2, lost=1)
    make_delivery(url=receiver.url)
    sender = make_sender(window=50, suspects_after=timedelta(minutes=1))
    run = sender._begin_run()

    run.intake.claim(idle=50, in_flight=0)
    sender._start(run)
    assert run.in_flight == 1

    sender._suspects_from = 0.0
    sender._start(run)
    assert run.in_flight == 3


@pytest.mark.parametrize("is_of_lanes", [False, True])
def test_a_claim_can_leave_suspects_out(is_of_lanes: bool) -> None:
    command = make_command()
    make_delivery(command, attempt_count=1, origin="http://a:80")
    others = {
        make_delivery(command, origin="http://a:80").pk,
        make_delivery(command, attempt_count=1, attempts=[make_attempt()], origin="http://a:80").pk,
    }
    of = {Lane(command.organization_id, "http://a:80"): 10} if is_of_lanes else None

    claims = queue.claim(limit=10, lease=MINUTE, of=of, with_suspects=False)

    assert {claim.id for claim in claims} == others


def test_rows_that_were_lost_least_often_are_sent_first(receiver: Receiver) -> None:
    poison = lost_before(receiver, 2, lost=2)
    innocent = lost_before(receiver, 30, lost=1)
    sender = make_sender(window=50, lanes=LaneSettings(first=50))
    run = sender._begin_run()

    run.intake.claim(idle=50, in_flight=0)
    sender._start(run)

    begun = {transfer.claim.id for transfer in sender._busy if transfer.claim}
    assert begun < {row.pk for row in innocent}
    assert not begun & {row.pk for row in poison}


def test_suspects_are_released_long_before_their_leases_end(receiver: Receiver) -> None:
    """Otherwise they would count as lost once more, although nobody died."""
    lost_before(receiver, 3, lost=3)
    sender = make_sender(window=50, lease=timedelta(seconds=20))
    run = sender._begin_run()
    run.intake.claim(idle=50, in_flight=0)
    sender._start(run)
    suspects = run.intake.suspects
    suspects._waiting = [claim._replace(held_since=claim.held_since - 11) for claim in suspects._waiting]

    run.intake.leave_paused()

    assert not run.intake.suspects
    assert list(Delivery.objects.filter(lease=None).values_list("attempt_count", flat=True)) == [3, 3]


def test_suspects_of_a_paused_lane_are_released(receiver: Receiver) -> None:
    command = make_command()
    origin = origin_of(receiver.url)
    suspect = make_delivery(command, url=receiver.url, origin=origin, attempt_count=1)
    sender = make_sender(window=50)
    run = sender._begin_run()
    run.intake.claim(idle=50, in_flight=0)
    sender._lanes.slow_down(Lane(command.organization_id, origin), hold=60)

    run.intake.leave_paused()

    suspect.refresh_from_db()
    assert (suspect.lease, suspect.attempt_count) == (None, 1)
    assert not run.intake.suspects


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
