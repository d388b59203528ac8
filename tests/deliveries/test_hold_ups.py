"""An attempt without an answer does not count if our own network may have been gone."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from django.db import connection

from commands_platform.lib import clock
from commands_platform.local.ports import free_port
from deliveries.models import AttemptError, State
from tests.deliveries.senders import make_sender
from tests.factories import make_delivery
from tests.receiver import Answer, Receiver

pytestmark = pytest.mark.django_db(transaction=True)

# Longer than the sender takes for a stall, and than the shortest hold-up in these tests.
HOLD_UP_SECONDS = 0.8


@pytest.fixture(autouse=True)
def _hold_ups_are_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deliveries.hold_ups.MIN_HOLD_UP_SECONDS", 0.6)


@pytest.fixture
def stop_database() -> Iterator[Callable[[], threading.Timer]]:
    """Freezes the PostgreSQL process of this connection for a while, as if the network to it were gone."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
    timers: list[threading.Timer] = []

    def stop() -> threading.Timer:
        os.kill(pid, signal.SIGSTOP)
        timers.append(threading.Timer(HOLD_UP_SECONDS, os.kill, (pid, signal.SIGCONT)))
        timers[0].start()
        return timers[0]

    yield stop
    for timer in timers:
        timer.join()


def test_a_request_in_flight_while_the_database_is_out_of_reach_is_interrupted_and_sent_again(
    receiver: Receiver, stop_database: Callable[[], threading.Timer]
) -> None:
    receiver.answer_with(Answer(delay=10))
    delivery = make_delivery(url=receiver.url, max_attempts=1)

    def stop_database_during_the_request() -> None:
        receiver.wait_for(1)
        stop_database()

    stopper = threading.Thread(target=stop_database_during_the_request)
    stopper.start()
    make_sender(timeout=timedelta(seconds=1)).drain()
    stopper.join()
    make_sender().drain()

    delivery.refresh_from_db()
    assert [attempt.error for attempt in delivery.attempts] == [AttemptError.INTERRUPTED, None]
    assert (delivery.state, delivery.attempt_count) == (State.DELIVERED, 2)


def test_a_failed_connection_does_not_count_if_the_database_is_out_of_reach_when_it_is_recorded(
    stop_database: Callable[[], threading.Timer],
) -> None:
    delivery = make_delivery(url=f"http://127.0.0.1:{free_port()}/", max_attempts=1)
    sender = make_sender()
    run = sender._begin_run()
    run.intake.claim(idle=1, in_flight=0)
    sender._start(run)
    while not run.recording.kept:
        sender._perform(run)

    stop_database()
    run.recording.write_all()

    delivery.refresh_from_db()
    assert (delivery.state, delivery.lease, delivery.attempt_count, delivery.attempts) == (State.PENDING, None, 0, [])
    assert delivery.next_attempt_at is not None
    assert delivery.next_attempt_at <= clock.now()


def test_a_receiver_that_is_silent_while_the_database_answers_is_to_blame(receiver: Receiver) -> None:
    receiver.answer_with(Answer(delay=10))
    delivery = make_delivery(url=receiver.url, max_attempts=1)

    make_sender(timeout=timedelta(seconds=1)).drain()

    delivery.refresh_from_db()
    assert [attempt.error for attempt in delivery.attempts] == [AttemptError.TIMEOUT]
    assert delivery.state == State.FAILED
