"""The loop of the sender: no receiver delays another, and nothing is lost when it stops."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest

from commands_platform.lib import clock
from deliveries import ledger, walk
from deliveries.lanes import LaneSettings
from deliveries.models import Delivery, Kind, State
from deliveries.sender import Sender
from outbound.address_guard import origin_of
from tests.deliveries.senders import make_sender, run_and_close, run_until
from tests.factories import make_command, make_delivery
from tests.receiver import Answer, Receiver

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_slow_receiver_does_not_delay_the_others(receiver: Receiver) -> None:
    sender = make_sender(window=4)
    receiver.always_answer(lambda request: Answer(delay=2.0 if "slow" in request.path else 0))
    make_delivery(url=f"{receiver.url}/slow")
    for _ in range(40):
        make_delivery(url=receiver.url)
    started = time.monotonic()

    sender.drain()

    assert time.monotonic() - started < 4
    slow = Delivery.objects.get(url__endswith="/slow")
    assert not Delivery.objects.exclude(pk=slow.pk).filter(finished_at__gte=slow.finished_at).exists()


def test_deliveries_that_become_due_during_a_run_are_sent_in_it(sender: Sender, receiver: Receiver) -> None:
    receiver.answer_with(Answer(delay=1.0))
    make_delivery(url=f"{receiver.url}/first")
    runner = threading.Thread(target=run_and_close, args=(sender,))
    runner.start()
    receiver.wait_for(1)
    make_delivery(url=f"{receiver.url}/second")

    second = receiver.wait_for(1, matching=lambda request: request.path.endswith("/second"))
    still_waiting = Delivery.objects.pending().filter(url__endswith="/first").exists()
    runner.join()

    assert second
    assert still_waiting


def test_a_sender_that_wakes_just_before_a_second_sends_the_deliveries_of_that_second(
    sender: Sender, receiver: Receiver
) -> None:
    now = clock.now()
    second = now.replace(microsecond=0) + timedelta(seconds=1 if now.microsecond < 900_000 else 2)
    delivery = make_delivery(url=receiver.url, due_at=second, next_attempt_at=second)
    time.sleep((second - timedelta(milliseconds=15) - now).total_seconds())

    assert sender.drain() == 1

    delivery.refresh_from_db()
    assert delivery.attempts[0].started_at >= second


def test_a_sender_that_is_told_to_stop_releases_its_claims(receiver: Receiver) -> None:
    sender = make_sender(window=2)
    receiver.always_answer(lambda _: Answer(delay=10))
    deliveries = [make_delivery(url=receiver.url) for _ in range(5)]
    stop = threading.Event()
    runner = threading.Thread(target=run_until, args=(sender, stop))
    runner.start()
    receiver.wait_for(2)

    stop.set()
    runner.join(timeout=8)

    assert not runner.is_alive()
    rows = Delivery.objects.filter(pk__in=[each.pk for each in deliveries])
    assert all(row.lease is None and row.state == State.PENDING for row in rows)
    assert Delivery.objects.due(clock.now()).count() == 5
    assert sorted(row.attempt_count for row in rows) == [0, 0, 0, 1, 1]


def test_a_request_begins_only_if_it_will_end_before_its_lease(receiver: Receiver) -> None:
    """After a long wait or a freeze, a sender must not send what another sender may be sending."""
    timeout = timedelta(seconds=1.5)
    sender = make_sender(window=1, lease=timedelta(seconds=2), timeout=timeout)
    receiver.answer_with(Answer(delay=1.0))
    now = clock.now()
    make_delivery(url=f"{receiver.url}/first", now=now - timedelta(seconds=1))
    second = make_delivery(url=f"{receiver.url}/second", now=now)
    receiver.always_answer(lambda _: Answer(delay=0.3))
    runner = threading.Thread(target=run_and_close, args=(sender,))
    runner.start()

    receiver.wait_for(1, matching=lambda request: request.path.endswith("/second"))
    second.refresh_from_db()
    lease_left = second.leased_until - clock.now() if second.leased_until else timedelta(0)
    runner.join()

    assert lease_left > timeout - timedelta(seconds=0.2)
    second.refresh_from_db()
    assert (second.state, second.attempt_count) == (State.DELIVERED, 1)


def test_a_hanging_receiver_with_a_long_queue_does_not_delay_the_others(receiver: Receiver) -> None:
    """Thousands of its callbacks were due first. Those of other receivers arrive as if it did not exist."""
    sender = make_sender(window=40, timeout=timedelta(seconds=2), lanes=LaneSettings(most=20, first=10))
    with Receiver() as hanging:
        hanging.always_answer(lambda _: Answer(delay=3, hang_up=True))
        earlier = clock.now() - timedelta(seconds=5)
        command = make_command()
        row = ledger.NewRow(
            organization_id=command.organization_id,
            command_id=command.pk,
            user_id=None,
            kind=Kind.EVENT,
            source_uuid=uuid4(),
            due_at=earlier,
            url=hanging.url,
            origin=origin_of(hanging.url),
            body="{}",
        )
        ledger.insert([replace(row, source_uuid=uuid4()) for _ in range(2000)], now=earlier)
        for _ in range(100):
            make_delivery(command, url=receiver.url, origin=origin_of(receiver.url))
        stop = threading.Event()
        runner = threading.Thread(target=run_until, args=(sender, stop))
        started = time.monotonic()
        runner.start()

        receiver.wait_for(100)
        needed = time.monotonic() - started
        stop.set()
        runner.join()

    # This is less than one timeout, although two thousand hanging requests were due before.
    assert needed < 2
    assert len(hanging.requests) <= 20


def test_while_the_breaker_is_open_deliveries_wait_without_losing_attempts(receiver: Receiver) -> None:
    settings = LaneSettings(most=4, first=4, failures=4, first_pause=30)
    sender = make_sender(window=10, timeout=timedelta(seconds=1), lanes=settings)
    receiver.always_answer(lambda _: Answer(delay=2, hang_up=True))
    command = make_command()
    for _ in range(30):
        make_delivery(command, url=receiver.url, origin=origin_of(receiver.url))

    sender.drain()

    untouched = Delivery.objects.filter(attempt_count=0)
    assert len(receiver.requests) == 4
    assert untouched.count() == 26
    assert Delivery.objects.due(clock.now()).count() == 26
    assert all(row.state == State.PENDING and row.lease is None for row in untouched)


def test_every_other_origin_is_found_beside_a_busy_one(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """There are more origins than one look can see, and the backlog is older than all their deliveries."""
    monkeypatch.setattr(walk, "_LANES_AT_ONCE", 2)
    command = make_command()
    with Receiver() as slow:
        slow.always_answer(lambda _: Answer(delay=0.2))
        for _ in range(60):
            old = clock.now() - timedelta(seconds=1)
            make_delivery(command, url=slow.url, origin=origin_of(slow.url), next_attempt_at=old)
        for number in range(7):
            make_delivery(command, url=receiver.url, origin=f"http://other-{number}:80")

        make_sender(window=10, lanes=LaneSettings(most=3, first=3)).drain()

        assert len(slow.requests) == 60
        assert max(request.at for request in receiver.requests) < slow.requests[30].at
    assert len(receiver.requests) == 7
    assert not Delivery.objects.pending().exists()
