"""The requests that a receiver gets."""

from __future__ import annotations

from datetime import timedelta

import pytest
from standardwebhooks import Webhook

from deliveries.models import Kind, State
from deliveries.sender import Sender
from organizations.services import rotate_signing_secret
from tests.deliveries.senders import make_sender
from tests.factories import make_command, make_delivery, make_user, read_token
from tests.receiver import Answer, Receiver

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_callback_carries_all_documented_headers_and_fields(sender: Sender, receiver: Receiver) -> None:
    user = make_user()
    command = make_command(user.organization)
    delivery = make_delivery(command, user=user, url=receiver.url, body='{"text":"Grüße"}')

    sender.drain()

    (request,) = receiver.requests
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"].startswith("CommandsPlatform/")
    assert request.webhook_id == str(delivery.pk)
    assert request.headers["x-dailybot-signature"] == command.signature
    assert request.headers["x-correlation-id"]
    assert request.json["payload"] == {"text": "Grüße"}
    assert request.json["scheduled_execution"]["attempt"] == 1
    subject = read_token(request.json["exchange_token"])
    assert subject is not None
    assert (subject.command, subject.user) == (command, user)
    Webhook(command.signing_secret).verify(request.body, request.headers)
    delivery.refresh_from_db()
    assert (delivery.state, delivery.last_status, delivery.attempt_count) == (State.DELIVERED, 204, 1)


def test_both_secrets_sign_while_a_secret_is_rotated(sender: Sender, receiver: Receiver) -> None:
    command = make_command()
    old = command.signing_secret
    new = rotate_signing_secret(command=command).signing_secret
    make_delivery(command, url=receiver.url)

    sender.drain()

    (request,) = receiver.requests
    for secret in (old, new):
        Webhook(secret).verify(request.body, request.headers)


def test_a_proxy_in_the_environment_is_not_used(
    monkeypatch: pytest.MonkeyPatch, sender: Sender, receiver: Receiver
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9/")
    delivery = make_delivery(url=receiver.url)

    sender.drain()

    delivery.refresh_from_db()
    assert delivery.state == State.DELIVERED


def test_the_body_of_an_event_gets_its_token_and_is_otherwise_sent_unchanged(
    sender: Sender, receiver: Receiver
) -> None:
    content = '{"event":"kudos.posted","body":{"exchange_token":null},'
    delivery = make_delivery(
        kind=Kind.EVENT, destination="hook:1", url=receiver.url, body=content + '"exchange_token":null}'
    )

    sender.drain()

    (request,) = receiver.requests
    token = request.json["exchange_token"]
    assert request.body.decode() == f'{content}"exchange_token":"{token}"}}'
    subject = read_token(token)
    assert subject is not None
    assert subject.command == delivery.command


def test_a_delivery_has_its_own_headers_and_timeout(receiver: Receiver) -> None:
    sender = make_sender(timeout=timedelta(seconds=10))
    receiver.always_answer(lambda _: Answer(delay=2))
    headers = '{"X-Team":"blå","Authorization":"Bearer x"}'
    delivery = make_delivery(url=receiver.url, headers=headers, timeout=1)

    sender.drain()

    (request,) = receiver.requests
    assert request.headers["x-team"] == "blå"
    assert request.headers["authorization"] == "Bearer x"
    delivery.refresh_from_db()
    assert delivery.attempts[0].error == "timeout"
