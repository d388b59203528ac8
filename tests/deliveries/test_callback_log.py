"""The log has the outcome of each callback, and contains no secrets."""

from __future__ import annotations

from typing import Any

import pytest

from deliveries import callback_log
from deliveries.models import Kind
from deliveries.sender import Sender
from tests.deliveries.senders import due_again, make_sender
from tests.factories import make_delivery
from tests.receiver import Answer, Receiver

pytestmark = pytest.mark.django_db(transaction=True)

PAYLOAD = '{"secret":"hush-hush"}'


@pytest.fixture
def outspoken() -> Sender:
    """Returns a sender that logs every callback."""
    return make_sender(logs_callbacks=True)


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Any:
    """Returns a function that lists the logged callbacks so far."""
    caplog.set_level("INFO")

    def logged() -> list[dict[str, Any]]:
        lines: list[Any] = [record.msg for record in caplog.records if record.name == callback_log.__name__]
        return lines

    return logged


def test_a_delivered_callback_is_logged_with_its_schedule_and_origin(
    outspoken: Sender, receiver: Receiver, lines: Any
) -> None:
    origin = f"http://127.0.0.1:{receiver.port}"
    delivery = make_delivery(
        url=f"{origin}/secret-path?token=hush-hush", origin=origin, schedule_name="greeting", body=PAYLOAD
    )

    outspoken.drain()

    (line,) = lines()
    assert line["event"] == "callback_delivered"
    assert (line["schedule"], line["status"], line["attempt"]) == ("greeting", 204, 1)
    assert line["origin"] == origin
    assert line["duration_ms"] >= 0
    assert line["delivery"] == str(delivery.id)
    assert "secret-path" not in str(line)
    assert "hush-hush" not in str(line)


def test_every_failed_attempt_is_logged_with_the_wait_before_the_next_one(
    outspoken: Sender, receiver: Receiver, lines: Any
) -> None:
    receiver.answer_with(Answer(503), Answer(503), Answer(404))
    delivery = make_delivery(url=receiver.url, schedule_name="greeting", body=PAYLOAD)

    for _ in range(2):
        outspoken.drain()
        due_again(delivery)
    outspoken.drain()

    logged = lines()
    assert [(line["event"], line["status"], line["attempt"]) for line in logged] == [
        ("callback_will_be_retried", 503, 1),
        ("callback_will_be_retried", 503, 2),
        ("callback_not_delivered", 404, 3),
    ]
    assert logged[0]["retry_in_seconds"] >= 4
    assert logged[2]["reason"] == "rejected"


def test_an_event_is_logged_by_its_name(outspoken: Sender, receiver: Receiver, lines: Any) -> None:
    make_delivery(kind=Kind.EVENT, url=receiver.url, body='{"event":"kudos.posted","hook":{"id":"1"},"body":{}}')

    outspoken.drain()

    assert [line["event_name"] for line in lines()] == ["kudos.posted"]


def test_without_the_setting_only_the_first_and_the_last_failure_are_logged(
    sender: Sender, receiver: Receiver, lines: Any
) -> None:
    receiver.answer_with(Answer(503), Answer(503), Answer(404))
    delivery = make_delivery(url=receiver.url, schedule_name="greeting", body=PAYLOAD)

    for _ in range(2):
        sender.drain()
        due_again(delivery)
    sender.drain()
    make_delivery(url=receiver.url, schedule_name="greeting", body=PAYLOAD)
    sender.drain()

    assert [(line["event"], line["attempt"]) for line in lines()] == [
        ("callback_will_be_retried", 1),
        ("callback_not_delivered", 3),
    ]
