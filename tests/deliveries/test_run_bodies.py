"""The body of a run's callback. The ledger stores only its payload and the schedule's name."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import orjson
import pytest

from deliveries.bodies import parties_of, run_body, whole_body
from deliveries.models import Delivery, Kind
from deliveries.sender import Sender
from organizations.models import Command, User
from tests.factories import make_command, make_delivery, make_organization, make_user
from tests.receiver import Receiver

DUE_AT = datetime(2026, 2, 25, 12, 0, tzinfo=UTC)
NAME = 'Say "hi" \\ \t\x01 é 😀'


def make_run(url: str = "http://127.0.0.1:9/") -> Delivery:
    organization = make_organization(uuid=UUID(int=1))
    command = make_command(organization, uuid=UUID(int=2), name="hello")
    user = make_user(organization, uuid=UUID(int=3), full_name='Ada "Countess" Lovelace')
    source, payload = UUID(int=4), '{"b": 1.0,"a":["é"]}'
    return make_delivery(
        command, user=user, source_uuid=source, due_at=DUE_AT, schedule_name="Report", body=payload, url=url
    )


def expected(*, token: str, attempt: int) -> str:
    return (
        '{"intent":"hello","query":"","event_timestamp":"2026-02-25T12:00:00Z",'
        '"organization_uuid":"00000000-0000-0000-0000-000000000001",'
        '"user_uuid":"00000000-0000-0000-0000-000000000003","user_full_name":"Ada \\"Countess\\" Lovelace",'
        '"command_uuid":"00000000-0000-0000-0000-000000000002",'
        f'"exchange_token":{token},"payload":{{"b": 1.0,"a":["é"]}},'
        '"scheduled_execution":{"uuid":"00000000-0000-0000-0000-000000000004","name":"Report",'
        f'"due_at":"2026-02-25T12:00:00Z","attempt":{attempt}}}}}'
    )


@pytest.mark.django_db(transaction=True)
def test_the_whole_body_is_sent(sender: Sender, receiver: Receiver) -> None:
    make_run(receiver.url)

    sender.drain()

    (request,) = receiver.requests
    token = f'"{request.json["exchange_token"]}"'
    assert request.body.decode() == expected(token=token, attempt=1)


@pytest.mark.django_db
def test_the_body_that_is_shown_differs_only_in_its_token_and_attempt() -> None:
    assert whole_body(make_run()) == expected(token="null", attempt=0)


@pytest.mark.django_db(transaction=True)
def test_names_of_command_and_user_are_those_at_the_time_of_sending(sender: Sender, receiver: Receiver) -> None:
    run = make_run(receiver.url)
    Command.objects.filter(pk=run.command_id).update(name="renamed")
    User.objects.update(full_name="Ada King")

    sender.drain()

    (request,) = receiver.requests
    assert (request.json["intent"], request.json["user_full_name"]) == ("renamed", "Ada King")


@pytest.mark.django_db(transaction=True)
def test_a_run_without_a_user_has_none_in_its_body(sender: Sender, receiver: Receiver) -> None:
    run = make_delivery(url=receiver.url)

    sender.drain()

    (request,) = receiver.requests
    assert (request.json["user_uuid"], request.json["user_full_name"]) == (None, None)
    shown = orjson.loads(whole_body(run))
    assert (shown["user_uuid"], shown["user_full_name"]) == (None, None)


@pytest.mark.django_db
def test_the_body_of_an_event_is_stored_and_shown_whole() -> None:
    event = make_delivery(kind=Kind.EVENT, body='{"event":"kudos.posted"}', schedule_name=None)

    assert whole_body(event) == '{"event":"kudos.posted"}'


def test_names_are_written_as_json() -> None:
    parties = parties_of("1", "2", NAME, "3", NAME)

    body = run_body(
        "{}", parties=parties, schedule_uuid="4", schedule_name=NAME, due_at=DUE_AT, exchange_token="t", attempt=1
    )

    run = orjson.loads(body)
    assert (run["intent"], run["user_full_name"], run["scheduled_execution"]["name"]) == (NAME, NAME, NAME)
