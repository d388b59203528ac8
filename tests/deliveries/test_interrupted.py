"""When a sender stops, a request counts as an attempt only if it may have reached its receiver."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from deliveries.models import AttemptError, Delivery, State
from deliveries.sender import Sender
from tests.deliveries.senders import make_sender, run_until
from tests.factories import make_delivery
from tests.raw_receiver import RawReceiver
from tests.receiver import Answer, Receiver

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _a_stop_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deliveries.sender._STOP_WITHIN_SECONDS", 0.0)


def stop_during(sender: Sender, wait: Callable[[], object]) -> None:
    """Runs the sender until `wait` returns, then stops it."""
    stop = threading.Event()
    runner = threading.Thread(target=run_until, args=(sender, stop))
    runner.start()
    wait()
    stop.set()
    runner.join(timeout=20)
    assert not runner.is_alive()


@pytest.mark.parametrize("max_attempts", [8, 1])
def test_an_interrupted_request_counts_as_an_attempt_and_is_retried_at_once(
    receiver: Receiver, max_attempts: int
) -> None:
    receiver.answer_with(Answer(delay=10))
    delivery = make_delivery(url=receiver.url, max_attempts=max_attempts)

    stop_during(make_sender(), lambda: receiver.wait_for(1))

    delivery.refresh_from_db()
    (attempt,) = delivery.attempts
    assert (attempt.number, attempt.status, attempt.error) == (1, None, AttemptError.INTERRUPTED)
    assert (delivery.state, delivery.lease, delivery.attempt_count) == (State.PENDING, None, 1)
    make_sender().drain()
    delivery.refresh_from_db()
    assert (delivery.state, delivery.attempt_count) == (State.DELIVERED, 2)
    assert [request.webhook_id for request in receiver.requests] == [str(delivery.pk)] * 2
    assert [request.json["scheduled_execution"]["attempt"] for request in receiver.requests] == [1, 2]


def test_a_request_without_a_connection_does_not_count_as_an_attempt() -> None:
    """The receiver's kernel accepts the connection, but nothing answers the TLS handshake."""
    with ExitStack() as stack:
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        delivery = make_delivery(url=f"https://127.0.0.1:{listening.getsockname()[1]}/callback")

        stop_during(make_sender(), lambda: stack.enter_context(listening.accept()[0]).recv(1))

    delivery.refresh_from_db()
    assert (delivery.state, delivery.lease, delivery.attempt_count, delivery.attempts) == (State.PENDING, None, 0, [])


def test_an_answer_whose_body_has_not_ended_counts() -> None:
    may_end = threading.Event()

    def begin_to_answer(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        may_end.wait(20)

    with RawReceiver(begin_to_answer) as receiver:
        make_delivery(url=receiver.url)
        sender = make_sender()
        run = sender._begin_run()
        run.intake.claim(idle=1, in_flight=0)
        sender._start(run)
        (transfer,) = sender._busy
        while not transfer.is_answered():
            sender._perform(run)

        sender._give_back(run)
        may_end.set()

    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.attempt_count, len(delivery.attempts)) == (State.DELIVERED, 1, 1)
    assert run.recording.finished == 1
