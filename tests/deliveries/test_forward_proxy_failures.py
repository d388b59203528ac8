"""An answer of a forward proxy is never mistaken for a receiver's answer."""

from __future__ import annotations

from datetime import timedelta

import pytest

from commands_platform.lib import clock
from deliveries.lanes import LaneSettings
from deliveries.models import Delivery, State
from outbound.address_guard import origin_of
from tests.deliveries.forward_proxies import (
    FORBIDDEN,
    LOOPBACK,
    UNAVAILABLE,
    WANTS_CREDENTIALS,
    make_due_again,
    sender_through,
)
from tests.factories import make_command, make_delivery
from tests.proxy import Proxy
from tests.receiver import Answer, Receiver

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (FORBIDDEN, "refused to connect to the receiver (status 403)"),
        (WANTS_CREDENTIALS, "wants other credentials, or does not let callbacks go to this receiver (status 407)"),
        (UNAVAILABLE, "could not connect to the receiver (status 503)"),
        (b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", "(status 302)"),
        (b"no HTTP at all\r\n\r\n", "did not answer as a proxy does"),
        (b"", "did not answer as a proxy does"),
        (None, "did not connect to the receiver in time"),
    ],
    ids=["403", "407", "503", "302", "garbage", "closed", "silence"],
)
def test_an_answer_of_the_proxy_is_not_an_answer_of_the_receiver(
    proxy: Proxy, receiver: Receiver, answer: bytes | None, cause: str
) -> None:
    proxy.names["receiver.test"] = receiver.port
    proxy.answer_with(answer)
    delivery = make_delivery(url="http://receiver.test/callback")
    sender = sender_through(proxy.url, timeout=timedelta(seconds=1))
    before = clock.now()

    sender.drain()

    delivery.refresh_from_db()
    (attempt,) = delivery.attempts
    assert (delivery.state, delivery.last_status) == (State.PENDING, None)
    assert (attempt.status, attempt.error, attempt.response) == (None, "proxy", "")
    assert attempt.message.startswith("The proxy for callbacks ")
    assert cause in attempt.message
    assert delivery.next_attempt_at is not None
    assert delivery.next_attempt_at - before <= timedelta(seconds=8)

    make_due_again()
    sender.drain()

    delivery.refresh_from_db()
    assert (delivery.state, delivery.attempt_count) == (State.DELIVERED, 2)
    assert [request.webhook_id for request in receiver.requests] == [str(delivery.pk)]


def test_nothing_is_sent_while_the_proxy_is_away(receiver: Receiver) -> None:
    with Proxy() as gone:
        url = gone.url
    # A label may have at most 63 letters, so this name cannot be looked up anywhere.
    nameless = f"http://{'x' * 64}:3128"
    causes = {}
    for proxy in (url, nameless):
        delivery = make_delivery(url=receiver.url)
        sender_through(proxy, guard=LOOPBACK).drain()
        delivery.refresh_from_db()
        assert (delivery.state, delivery.attempts[0].error) == (State.PENDING, "proxy")
        causes[proxy] = delivery.attempts[0].message

    assert causes == {
        url: "The proxy for callbacks could not be reached.",
        nameless: "The proxy for callbacks has a name that could not be resolved.",
    }
    assert receiver.requests == []


@pytest.mark.parametrize("is_first", [True, False], ids=["a new tunnel", "a used tunnel"])
@pytest.mark.parametrize(
    ("answer", "error"),
    [(Answer(delay=3), "timeout"), (Answer(status=503), None), (Answer(status=407), None)],
    ids=["silence", "503", "407"],
)
def test_failures_beyond_the_tunnel_belong_to_the_receiver(
    proxy: Proxy, receiver: Receiver, answer: Answer, error: str | None, is_first: bool
) -> None:
    proxy.names["receiver.test"] = receiver.port
    sender = sender_through(proxy.url, timeout=timedelta(seconds=1))
    if not is_first:
        make_delivery(url="http://receiver.test/callback")
        sender.drain()
    receiver.answer_with(answer)
    delivery = make_delivery(url="http://receiver.test/callback")

    sender.drain()

    delivery.refresh_from_db()
    (attempt,) = delivery.attempts
    assert attempt.error == error
    assert attempt.status == (None if error else answer.status)
    assert len(proxy.requests) == 1


@pytest.mark.parametrize(
    ("answer", "tried_at_first"),
    [(FORBIDDEN, 6), (WANTS_CREDENTIALS, 6), (b"", 6), (UNAVAILABLE, 2)],
    ids=["403", "407", "closed", "503"],
)
def test_only_failures_of_the_receiver_count_against_it(
    proxy: Proxy, receiver: Receiver, answer: bytes, tried_at_first: int
) -> None:
    """Here two failures open a receiver's breaker. Its due deliveries then wait without being tried."""
    proxy.names["receiver.test"] = receiver.port
    proxy.answer_with(*[answer] * tried_at_first)
    origins = LaneSettings(most=2, first=2, failures=2, first_pause=30)
    sender = sender_through(proxy.url, lanes=origins)
    command = make_command()
    for _ in range(6):
        make_delivery(command, url="http://receiver.test/", origin=origin_of("http://receiver.test/"))

    sender.drain()
    assert Delivery.objects.filter(attempt_count=1, state=State.PENDING).count() == tried_at_first
    make_due_again()
    sender.drain()

    is_left_alone = tried_at_first < 6
    assert Delivery.objects.filter(state=State.DELIVERED).count() == (0 if is_left_alone else 6)
    assert len(receiver.requests) == (0 if is_left_alone else 6)
