"""An answer counts as soon as its status and headers have arrived, whatever happens to its body."""

from __future__ import annotations

import socket
from datetime import timedelta

import pytest

from deliveries import transfer
from deliveries.models import AttemptError, Delivery, Reason, State
from tests.deliveries.senders import make_sender
from tests.factories import make_delivery
from tests.raw_receiver import RawReceiver
from tests.receiver import Receiver

pytestmark = pytest.mark.django_db(transaction=True)

NO_END = "The answer's body did not end in time."
CUT_SHORT = "The answer's body was cut short."


@pytest.fixture(autouse=True)
def _bodies_get_little_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "BODY_SECONDS", 0.2)


def deliver(head: str, *, body: bytes = b"", hangs: bool = False, trickles: bool = False) -> Delivery:
    """Sends one delivery to a receiver with this answer. The receiver closes the connection unless it hangs."""

    def answer(connection: socket.socket) -> None:
        connection.sendall(head.replace("\n", "\r\n").encode() + body)
        while trickles and not receiver.is_over.wait(0.05):
            connection.sendall(b"1\r\nx\r\n" if "chunked" in head else b"x")
        if hangs:
            receiver.wait_until_closed(connection)

    with RawReceiver(answer) as receiver:
        delivery = make_delivery(url=receiver.url)
        # Far longer than a body may take. A sender that waited for it would exceed pytest's own limit.
        make_sender(timeout=timedelta(seconds=30)).drain()
        assert len(receiver.requests) == 1
    delivery.refresh_from_db()
    return delivery


@pytest.mark.parametrize(
    ("head", "body", "ending", "note"),
    [
        ("HTTP/1.1 200 OK\n\n", b"", {"hangs": True}, NO_END),
        ("HTTP/1.1 200 OK\n\n", b"beginning", {"hangs": True}, NO_END),
        ("HTTP/1.1 200 OK\nContent-Length: 50\n\n", b"beginning", {"hangs": True}, NO_END),
        ("HTTP/1.1 200 OK\nContent-Length: 50\n\n", b"beginning", {}, CUT_SHORT),
        ("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n", b"9\r\nbeginning\r\n", {"hangs": True}, NO_END),
        ("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n", b"9\r\nbeginning\r\n", {"trickles": True}, NO_END),
        ("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n", b"9\r\nbeginning\r\n", {}, CUT_SHORT),
        ("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n", b"9\r\nbeginning\r\nnonsense\r\n", {}, CUT_SHORT),
        ("HTTP/1.1 200 OK\nContent-Type: text/event-stream\n\n", b"data: 1\n\n", {"trickles": True}, NO_END),
        ("HTTP/1.1 200 OK\nContent-Length: 9999\n\n", b"beginning", {"trickles": True}, NO_END),
        ("HTTP/1.1 202 Accepted\nContent-Length: 9\n\n", b"", {"trickles": True}, NO_END),
        ("HTTP/1.1 103 Early Hints\nLink: x\n\nHTTP/1.1 200 OK\nContent-Length: 5\n\n", b"", {"hangs": True}, NO_END),
        ("HTTP/1.1 200 OK\n\n", b"x" * 5000, {"trickles": True}, ""),
    ],
    ids=[
        *("no length, no body", "no length", "too little", "cut short", "chunked without end", "chunks that trickle"),
        *("chunks cut short", "a bad chunk", "an event stream", "a body that trickles", "every byte late"),
        *("after early hints", "more than is kept"),
    ],
)
def test_a_2xx_counts_whatever_happens_to_its_body(head: str, body: bytes, ending: dict[str, bool], note: str) -> None:
    delivery = deliver(head, body=body, **ending)

    (attempt,) = delivery.attempts
    assert (delivery.state, delivery.reason) == (State.DELIVERED, "")
    assert delivery.last_status == attempt.status == int(head.rsplit("HTTP/1.1 ", maxsplit=1)[-1][:3])
    assert (attempt.error, attempt.message) == (None, note)


def test_the_beginning_of_an_endless_body_is_kept() -> None:
    delivery = deliver("HTTP/1.1 200 OK\nContent-Length: 50\n\n", body=b"beginning", hangs=True)

    assert delivery.attempts[0].response == "beginning"


@pytest.mark.parametrize(
    ("status", "state", "reason"),
    [(400, State.FAILED, Reason.REJECTED), (500, State.PENDING, ""), (302, State.FAILED, Reason.REJECTED)],
)
def test_every_other_status_counts_too(status: int, state: State, reason: str) -> None:
    delivery = deliver(f"HTTP/1.1 {status} No\nContent-Length: 50\n\n", hangs=True)

    (attempt,) = delivery.attempts
    assert (delivery.state, delivery.reason) == (state, reason)
    assert (attempt.status, attempt.error) == (status, None)
    assert attempt.message.endswith(NO_END)
    assert len(attempt.message) > len(NO_END)


@pytest.mark.parametrize(
    "head",
    ["HTTP/1.1 200 OK\n", "HTTP/1.1 200 OK\nContent-Le", "HTTP/1.1 103 Early Hints\nLink: x\n\n", "HTTP/1.1 2"],
    ids=["headers without end", "a header cut short", "early hints alone", "a status cut short"],
)
def test_headers_that_are_cut_short_are_not_an_answer(head: str) -> None:
    delivery = deliver(head)

    (attempt,) = delivery.attempts
    assert (delivery.state, delivery.last_status) == (State.PENDING, None)
    assert (attempt.status, attempt.error) == (None, AttemptError.RESET)
    assert attempt.message == AttemptError.RESET.label


def test_a_slow_body_does_not_keep_a_place_in_the_window(receiver: Receiver) -> None:
    def answer(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        hanging.wait_until_closed(connection)

    with RawReceiver(answer) as hanging:
        for _ in range(4):
            make_delivery(url=hanging.url)
        make_delivery(url=receiver.url)
        make_sender(window=1, timeout=timedelta(seconds=30)).drain()

    assert not Delivery.objects.exclude(state=State.DELIVERED).exists()
