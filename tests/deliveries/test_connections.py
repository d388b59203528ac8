"""Connections are reused, but not for ever, so that callbacks follow a name to its new address."""

from __future__ import annotations

import socket
import time

import pytest

from deliveries import transfer
from tests.deliveries.senders import make_sender
from tests.factories import make_delivery
from tests.raw_receiver import RawReceiver

pytestmark = pytest.mark.django_db(transaction=True)


def answer_each(connection: socket.socket) -> None:
    """Answers every request of a connection. Each is small enough to arrive in one piece."""
    connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
    while connection.recv(65536):
        connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")


def send_twice(*, pause: float) -> int:
    """Returns the number of connections that two deliveries were sent over."""
    with RawReceiver(answer_each) as receiver:
        sender = make_sender(window=1)
        for wait in (0, pause):
            time.sleep(wait)
            make_delivery(url=receiver.url)
            sender.drain()
        return len(receiver.requests)


def test_a_connection_is_reused() -> None:
    assert send_twice(pause=0) == 1


@pytest.mark.parametrize("limit", ["_MAX_CONNECTION_SECONDS", "_MAX_IDLE_SECONDS"])
def test_a_connection_that_is_too_old_is_not_reused(monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    monkeypatch.setattr(transfer, limit, 1)

    assert send_twice(pause=2.1) == 2
