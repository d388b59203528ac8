"""The URL that is shown is the URL that is called."""

from __future__ import annotations

import socket

import pytest

from deliveries.models import State
from deliveries.sender import Sender
from tests.deliveries.senders import LOOPBACK
from tests.factories import make_delivery
from tests.raw_receiver import RawReceiver

pytestmark = pytest.mark.django_db(transaction=True)


def answer(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")


@pytest.mark.parametrize(
    "target",
    [
        *("/", "/a/../b", "/a/./b", "/../..", "/a/%2e%2e/b", "/%7euser/caf%c3%a9", "/%zz%", "//a//b/", "/a;b=c/@d:e"),
        *("/?", "/?a=/../b", "/a?b=%2f&c=%c3%A9", "/a?b=c?d", "/~[x]!$&'()*+,;=:@"),
    ],
)
def test_the_path_and_query_are_sent_as_they_were_saved(sender: Sender, target: str) -> None:
    with RawReceiver(answer) as receiver:
        url = f"http://127.0.0.1:{receiver.port}{target}"
        delivery = make_delivery(url=LOOPBACK.check_url(url))
        sender.drain()
        (request,) = receiver.requests

    delivery.refresh_from_db()
    assert (delivery.state, delivery.url) == (State.DELIVERED, url)
    assert request.split(b"\r\n")[0].decode() == f"POST {target} HTTP/1.1"
    assert f"\r\nHost: 127.0.0.1:{receiver.port}\r\n".encode() in request


def test_each_request_has_the_path_and_query_of_its_own_url(sender: Sender) -> None:
    with RawReceiver(answer) as receiver:
        for target in ("/first", "/second?a", "/third"):
            make_delivery(url=f"http://127.0.0.1:{receiver.port}{target}")
            sender.drain()

    assert [request.split(b" ")[1] for request in receiver.requests] == [b"/first", b"/second?a", b"/third"]
