"""All that a lost deliverer held is due again at once, and a deliverer that may count as lost sends nothing more."""

from __future__ import annotations

import math
import socket
import threading
import time
from datetime import timedelta
from uuid import uuid4

import pytest

from commands_platform.lib import clock
from deliveries import outcomes, queue, takeover
from deliveries.leases import leases_of, new_lease
from deliveries.models import Delivery, State
from deliveries.outcomes import Outcome, end_leases
from deliveries.takeover import take_over_lost
from harness.platform import wait_until
from processes.models import Role
from processes.standing import Standing
from tests.deliveries.senders import due_again, make_sender, run_until
from tests.factories import make_delivery, make_process
from tests.locks import held_elsewhere
from tests.receiver import Answer, Receiver

pytestmark = pytest.mark.django_db(transaction=True)

MINUTE = timedelta(minutes=1)


def can_be_claimed() -> set[object]:
    return set(Delivery.objects.due(clock.now()).values_list("pk", flat=True))


def test_a_lease_names_its_holder() -> None:
    holder, other = uuid4(), uuid4()
    first, last = leases_of(holder)

    leases = {new_lease(holder) for _ in range(100)}

    assert len(leases) == 100
    assert all(first <= lease <= last for lease in leases)
    assert not first <= new_lease(other) <= last
    assert not first <= new_lease(None) <= last


def test_claims_of_a_lost_deliverer_are_due_again_long_before_its_leases_end() -> None:
    make_process(Role.WEB)
    lost = make_process(Role.DELIVERER, seen_ago=timedelta(seconds=5))
    alive = make_process(Role.DELIVERER)
    rows = [make_delivery() for _ in range(4)]
    claimed = {claim.id for claim in queue.claim(limit=3, lease=MINUTE, holder=lost.pk)}
    queue.claim(limit=1, lease=MINUTE, holder=alive.pk)

    take_over_lost()

    assert can_be_claimed() == claimed
    assert len(claimed) == 3
    lost.refresh_from_db()
    assert lost.taken_over_at is not None
    assert {row.pk for row in rows} > claimed


def test_a_claim_that_was_taken_over_counts_as_lost() -> None:
    """The row may have killed its sender."""
    holder = uuid4()
    delivery = make_delivery()
    for lost in range(3):
        (claim,) = queue.claim(limit=1, lease=MINUTE, holder=holder)
        assert (claim.id, claim.lost) == (delivery.pk, lost)
        assert not claim.is_suspect or outcomes.note_begin(claim)
        assert end_leases(holder) == (1, 1)
        due_again(delivery)


def test_rows_that_somebody_has_locked_are_taken_over_later() -> None:
    make_process(Role.WEB)
    lost = make_process(Role.DELIVERER, seen_ago=timedelta(seconds=5))
    make_delivery()
    make_delivery()
    first, second = queue.claim(limit=2, lease=MINUTE, holder=lost.pk)

    with held_elsewhere(Delivery.objects.filter(pk=first.id)):
        take_over_lost()
        assert can_be_claimed() == {second.id}

    take_over_lost()
    assert can_be_claimed() == {first.id, second.id}


def test_an_outcome_of_a_lost_deliverer_is_recorded_only_if_nobody_has_claimed_its_row() -> None:
    holder = uuid4()
    make_delivery()
    make_delivery()
    first, second = queue.claim(limit=2, lease=MINUTE, holder=holder)
    end_leases(holder)
    (again,) = queue.claim(limit=1, lease=MINUTE, holder=uuid4())
    kept = second if again.id == first.id else first

    claims = (first, second)
    recorded = outcomes.record([Outcome(claim.id, claim.lease, State.DELIVERED, status=204) for claim in claims])

    assert recorded == outcomes.Recorded(1, [])
    assert Delivery.objects.get(state=State.DELIVERED).pk == kept.id


def test_a_thread_of_each_deliverer_takes_over() -> None:
    make_process(Role.WEB)
    lost = make_process(Role.DELIVERER, seen_ago=timedelta(seconds=5))
    make_delivery()
    queue.claim(limit=1, lease=MINUTE, holder=lost.pk)
    thread = takeover.take_over_thread()

    thread.start()
    try:
        wait_until(can_be_claimed)
    finally:
        thread.stop()
        thread.join(10)


def test_a_deliverer_that_may_count_as_lost_claims_nothing(receiver: Receiver) -> None:
    delivery = make_delivery(url=receiver.url)
    standing = Standing()
    standing.expect_reports()
    sender = make_sender(standing=standing)

    assert sender.drain() == 0
    delivery.refresh_from_db()
    assert (delivery.lease, delivery.attempt_count) == (None, 0)

    standing.note_report(began=time.monotonic())
    assert sender.drain() == 1


def test_claims_from_before_a_gap_in_the_reports_are_not_sent(receiver: Receiver) -> None:
    """A deliverer was frozen, and its heartbeat went on before its sender did."""
    make_delivery(url=receiver.url)
    standing = Standing()
    standing.note_report(began=time.monotonic())
    sender = make_sender(standing=standing)
    run = sender._begin_run()
    run.intake.claim(idle=1, in_flight=0)

    standing.expect_reports()
    standing.note_report(began=time.monotonic())
    assert sender._may_begin(run)
    sender._start(run)
    sender._release_left(run)

    assert (run.in_flight, run.left) == (0, [])
    assert len(can_be_claimed()) == 1
    assert receiver.requests == []


def test_a_claim_that_took_too_long_is_not_sent() -> None:
    make_delivery()
    standing = Standing()
    sender = make_sender(standing=standing)
    run = sender._begin_run()
    run.intake.claim(idle=1, in_flight=0)

    standing.expect_reports()
    sender._start(run)

    assert (run.in_flight, len(run.left)) == (0, 1)


def test_a_request_that_has_not_left_yet_is_given_up_and_one_that_has_is_not(receiver: Receiver) -> None:
    receiver.answer_with(Answer(delay=0.3))
    standing = Standing()
    sender = make_sender(standing=standing)
    run = sender._begin_run()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        make_delivery(url=receiver.url)
        # The kernel accepts the connection, but nothing answers the TLS handshake.
        make_delivery(url=f"https://127.0.0.1:{silent.getsockname()[1]}/")
        run.intake.claim(idle=2, in_flight=0)
        sender._start(run)
        while not any(transfer.may_have_sent() for transfer in sender._busy):
            sender._perform(run)

        standing.expect_reports()
        assert not sender._may_begin(run)

        assert [transfer.claim and transfer.claim.url for transfer in sender._busy] == [receiver.url]
        assert len(run.left) == 1
        sender._release_left(run)
        assert len(run.left) == 1
        while run.in_flight:
            sender._perform(run)
        run.recording.write_all()
        sender._give_back(run)

    assert list(Delivery.objects.order_by("pk").values_list("state", "lease")) == [
        (State.DELIVERED, None),
        (State.PENDING, None),
    ]


def test_a_deliverer_that_becomes_unsure_during_a_run_ends_it(receiver: Receiver) -> None:
    """Its outcomes are still recorded, and a later run begins when others know again that it is alive."""
    receiver.answer_with(Answer(delay=0.5))
    first = make_delivery(url=receiver.url)
    standing = Standing()
    runner = threading.Thread(target=run_until, args=(make_sender(standing=standing), threading.Event()))
    runner.start()
    receiver.wait_for(1)

    standing.expect_reports()
    second = make_delivery(url=receiver.url)
    runner.join(timeout=20)

    assert not runner.is_alive()
    assert standing.alive_since() == math.inf
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.state, second.state, second.attempt_count) == (State.DELIVERED, State.PENDING, 0)
