"""A receiver that answers 429 gets no requests for as long as it asks."""

from __future__ import annotations

from datetime import timedelta

import pytest

from commands_platform.lib import clock
from deliveries.lanes import LaneSettings
from deliveries.models import Delivery, State
from deliveries.retry_policy import DEFAULT_RETRY_AFTER_CAP, hold_of
from outbound.address_guard import origin_of
from tests.deliveries.senders import make_sender
from tests.factories import make_command, make_delivery
from tests.receiver import Answer, Receiver

pytestmark = pytest.mark.django_db(transaction=True)

ONE_AT_A_TIME = LaneSettings(most=1, first=1)


def test_retry_after_of_a_429_applies_to_the_whole_origin(receiver: Receiver) -> None:
    receiver.always_answer(lambda _: Answer(429, headers=(("Retry-After", "600"),)))
    command = make_command()
    for _ in range(20):
        make_delivery(command, url=receiver.url, origin=origin_of(receiver.url))
    sender = make_sender(lanes=ONE_AT_A_TIME)
    with Receiver() as other:
        for _ in range(20):
            make_delivery(command, url=other.url, origin=origin_of(other.url))

        sender.drain()
        make_delivery(command, url=receiver.url, origin=origin_of(receiver.url))
        sender.drain()

        assert len(other.requests) == 20
    assert len(receiver.requests) == 1
    waiting = Delivery.objects.filter(url=receiver.url, attempt_count=0)
    assert waiting.count() == 20
    assert waiting.due(clock.now()).count() == 20
    (tried,) = Delivery.objects.filter(url=receiver.url, attempt_count=1)
    assert tried.state == State.PENDING
    assert tried.next_attempt_at is not None
    assert tried.next_attempt_at - clock.now() > timedelta(seconds=590)


def test_a_429_without_retry_after_slows_its_origin_down_but_does_not_stop_it(receiver: Receiver) -> None:
    receiver.answer_with(Answer(429))
    for _ in range(5):
        make_delivery(url=receiver.url, origin=origin_of(receiver.url))

    make_sender(lanes=ONE_AT_A_TIME).drain()

    assert len(receiver.requests) == 5
    assert Delivery.objects.filter(state=State.DELIVERED).count() == 4


def test_an_origin_cannot_ask_for_more_than_the_cap() -> None:
    assert hold_of(timedelta(days=365)) == DEFAULT_RETRY_AFTER_CAP
    assert hold_of(timedelta(seconds=-5)) == hold_of(None) == timedelta(0)
