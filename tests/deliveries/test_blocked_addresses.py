"""Callbacks to forbidden addresses, and to URLs that are no longer allowed, are not sent."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from deliveries.models import Reason, State
from deliveries.sender import Sender
from outbound.address_guard import AddressGuard
from tests.deliveries.senders import LOOPBACK, make_sender
from tests.factories import make_delivery
from tests.receiver import Receiver

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_url_that_cannot_be_called_fails_at_once() -> None:
    """A delivery keeps its URL, so a retry would fail too."""
    delivery = make_delivery(url="http://127.0.0.1:99999/callback")

    make_sender().drain()

    delivery.refresh_from_db()
    assert (delivery.state, delivery.reason) == (State.FAILED, Reason.UNSENDABLE)
    assert [attempt.error for attempt in delivery.attempts] == ["invalid_url"]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_a_blocked_address_is_not_called(receiver: Receiver, host: str) -> None:
    sender = make_sender(guard=AddressGuard())
    delivery = make_delivery(url=f"http://{host}:{receiver.port}/callback")

    sender.drain()

    delivery.refresh_from_db()
    assert (delivery.state, delivery.reason) == (State.FAILED, Reason.BLOCKED_ADDRESS)
    assert "loopback" in delivery.attempts[0].message
    assert receiver.requests == []


@pytest.mark.parametrize(
    ("stricter", "cause"),
    [
        ({"allowed_ports": frozenset({443})}, "port {port} may not be called"),
        ({"allowed_schemes": frozenset({"https"})}, "scheme must be https"),
        ({"allowed_networks": ()}, "127.0.0.1 is a loopback address"),
    ],
    ids=["ports", "schemes", "networks"],
)
def test_a_url_that_was_saved_under_laxer_rules_is_not_called(
    receiver: Receiver, stricter: dict[str, Any], cause: str
) -> None:
    assert LOOPBACK.check_url(receiver.url) == receiver.url
    sender = make_sender(guard=replace(LOOPBACK, **stricter))
    delivery = make_delivery(url=receiver.url)

    sender.drain()

    delivery.refresh_from_db()
    assert (delivery.state, delivery.reason) == (State.FAILED, Reason.BLOCKED_ADDRESS)
    assert delivery.attempts[0].error == "blocked_address"
    assert cause.format(port=receiver.port) in delivery.attempts[0].message
    assert receiver.requests == []


def test_a_name_with_at_least_one_allowed_address_is_retried(sender: Sender) -> None:
    """`localhost` may also be ::1, which is refused. That must not decide about 127.0.0.1, where nothing listens."""
    with Receiver() as gone:
        port = gone.port
    delivery = make_delivery(url=f"http://localhost:{port}/")

    sender.drain()

    delivery.refresh_from_db()
    assert delivery.state == State.PENDING
    assert delivery.attempts[0].error == "refused"
