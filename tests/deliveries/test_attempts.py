"""Answers decide what happens to a delivery, and each attempt leaves a record."""

from __future__ import annotations

from datetime import timedelta

import pytest

from commands_platform.lib import clock
from deliveries.models import Delivery, Reason, State
from deliveries.sender import Sender
from tests.deliveries.senders import due_again, make_sender
from tests.factories import make_command, make_delivery, make_user
from tests.receiver import Answer, Receiver

pytestmark = pytest.mark.django_db(transaction=True)


def test_an_attempt_keeps_its_timings_and_the_beginning_of_the_answer(sender: Sender, receiver: Receiver) -> None:
    receiver.answer_with(Answer(200, body=b"\0" + b"x" * 10_000))
    delivery = make_delivery(url=receiver.url)

    sender.drain()

    delivery.refresh_from_db()
    (attempt,) = delivery.attempts
    assert delivery.state == State.DELIVERED
    assert attempt.status == 200
    assert attempt.address == "127.0.0.1"
    assert attempt.timings is not None
    assert attempt.timings.total > 0
    assert attempt.response == "\ufffd" + "x" * 4095


def test_a_receiver_that_sends_the_request_back_leaves_no_secret_in_the_ledger(
    sender: Sender, receiver: Receiver
) -> None:
    receiver.always_answer(lambda request: Answer(200, body=request.body + "".join(request.headers.values()).encode()))
    command = make_command()
    headers = '{"Authorization":"Bearer hush-hush"}'
    delivery = make_delivery(command, user=make_user(command.organization), url=receiver.url, headers=headers)

    sender.drain()

    (request,) = receiver.requests
    delivery.refresh_from_db()
    kept = str(delivery.attempts)
    assert delivery.state == State.DELIVERED
    for secret in (
        request.json["exchange_token"],
        command.signature,
        request.headers["webhook-signature"],
        "hush-hush",
    ):
        assert secret not in kept


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
def test_these_answers_are_retried_with_the_same_webhook_id(sender: Sender, receiver: Receiver, status: int) -> None:
    receiver.answer_with(Answer(status))
    delivery = make_delivery(url=receiver.url)
    before = clock.now()

    sender.drain()
    delivery.refresh_from_db()
    assert delivery.state == State.PENDING
    assert delivery.next_attempt_at is not None
    assert timedelta(seconds=5) <= delivery.next_attempt_at - before <= timedelta(seconds=8)
    due_again(delivery)
    sender.drain()

    first, second = receiver.requests
    assert first.webhook_id == second.webhook_id
    assert second.json["scheduled_execution"]["attempt"] == 2
    delivery.refresh_from_db()
    assert delivery.state == State.DELIVERED
    assert [attempt.status for attempt in delivery.attempts] == [status, 204]


@pytest.mark.parametrize("status", [301, 302, 307, 400, 401, 403, 404, 422])
def test_these_answers_fail_the_delivery_at_once(sender: Sender, receiver: Receiver, status: int) -> None:
    receiver.answer_with(Answer(status, headers=(("Location", f"{receiver.url}/elsewhere"),)))
    delivery = make_delivery(url=receiver.url)

    sender.drain()

    delivery.refresh_from_db()
    assert (delivery.state, delivery.reason, delivery.last_status) == (State.FAILED, Reason.REJECTED, status)
    assert len(receiver.requests) == 1


def test_retry_after_makes_the_wait_longer(sender: Sender, receiver: Receiver) -> None:
    receiver.answer_with(Answer(503, headers=(("Retry-After", "120"),)))
    delivery = make_delivery(url=receiver.url)
    before = clock.now()

    sender.drain()

    delivery.refresh_from_db()
    assert delivery.next_attempt_at is not None
    assert timedelta(seconds=120) <= delivery.next_attempt_at - before <= timedelta(seconds=125)


def test_a_delivery_fails_when_every_attempt_has_failed(receiver: Receiver) -> None:
    sender = make_sender(retry_delays=(timedelta(seconds=5), timedelta(seconds=30)))
    receiver.always_answer(lambda _: Answer(500))
    delivery = make_delivery(url=receiver.url, max_attempts=3)

    for _ in range(3):
        sender.drain()
        due_again(delivery) if Delivery.objects.pending().exists() else None

    delivery.refresh_from_db()
    assert (delivery.state, delivery.reason, delivery.attempt_count) == (State.FAILED, Reason.RETRIES_EXHAUSTED, 3)
    assert len(receiver.requests) == 3


def test_attempts_beyond_the_list_of_delays_use_the_last_one(receiver: Receiver) -> None:
    sender = make_sender(retry_delays=(timedelta(seconds=5), timedelta(seconds=30)))
    receiver.always_answer(lambda _: Answer(503))
    delivery = make_delivery(url=receiver.url, max_attempts=20)
    waits = []

    while Delivery.objects.pending().exists():
        before = clock.now()
        sender.drain()
        delivery.refresh_from_db()
        if delivery.next_attempt_at is not None:
            waits.append(delivery.next_attempt_at - before)
            due_again(delivery)

    assert (delivery.state, delivery.reason, delivery.attempt_count) == (State.FAILED, Reason.RETRIES_EXHAUSTED, 20)
    assert len(waits) == 19
    assert all(timedelta(seconds=30) <= wait <= timedelta(seconds=38) for wait in waits[1:])


@pytest.mark.parametrize(
    ("answer", "error"),
    [(Answer(hang_up=True), "reset"), (Answer(delay=3), "timeout")],
    ids=["the connection closes", "no answer in time"],
)
def test_an_attempt_without_an_answer_is_retried(receiver: Receiver, answer: Answer, error: str) -> None:
    sender = make_sender(timeout=timedelta(seconds=1))
    receiver.answer_with(answer)
    delivery = make_delivery(url=receiver.url)

    sender.drain()

    delivery.refresh_from_db()
    assert (delivery.state, delivery.last_status) == (State.PENDING, None)
    assert delivery.attempts[0].error == error
    assert delivery.attempts[0].message


def test_a_refused_connection_is_retried(sender: Sender) -> None:
    with Receiver() as gone:
        url = gone.url
    delivery = make_delivery(url=url)

    sender.drain()

    delivery.refresh_from_db()
    assert delivery.state == State.PENDING
    assert delivery.attempts[0].error == "refused"


def test_a_row_that_cannot_be_sent_fails_without_the_others(sender: Sender, receiver: Receiver) -> None:
    poison = make_delivery(url=receiver.url)
    Delivery.objects.filter(pk=poison.pk).update(headers="no JSON")
    others = [make_delivery(url=receiver.url) for _ in range(5)]

    sender.drain()

    poison.refresh_from_db()
    assert (poison.state, poison.reason) == (State.FAILED, Reason.UNSENDABLE)
    assert Delivery.objects.filter(pk__in=[each.pk for each in others], state=State.DELIVERED).count() == 5
