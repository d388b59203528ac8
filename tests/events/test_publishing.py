"""Published events become rows of the ledger, and are sent to their subscribers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from standardwebhooks import Webhook

from commands_platform.lib import clock
from deliveries.models import Delivery, Kind, Reason, State
from deliveries.sender import process_sender
from organizations.models import Command, Organization, User
from tests.api import ApiClient, Caller, make_caller
from tests.events.hooks import AT, BODY, PATH, URL, event_in, make_hook
from tests.factories import make_installation, make_organization, make_user
from tests.outbox import fan_out, published
from tests.receiver import Receiver

pytestmark = pytest.mark.django_db
SUBSCRIBE = "/v1/platform/event-subscription/"


def test_the_ledger_holds_the_exact_body_of_the_callback(alice: ApiClient) -> None:
    hook = make_hook(alice.caller, "forms.*")
    event = event_in(
        alice.caller.organization, "forms.response.created", body={"answers": [1, "é"], "a": None}, object_id="form-1"
    )

    assert published([event]) == 1

    delivery = Delivery.objects.get()
    assert delivery.body == (
        '{"event":"forms.response.created","event_timestamp":1707157671.495433,'
        f'"hook":{{"id":{hook.pk},"name":"{alice.caller.command.name}"}},'
        '"body":{"answers":[1,"é"],"a":null},'
        f'"event_uuid":"{event.uuid}","user_uuid":"{alice.caller.user.uuid}","user_full_name":"Ada Lovelace",'
        '"exchange_token":null}'
    )
    assert (delivery.kind, delivery.state) == (Kind.EVENT, State.PENDING)
    assert delivery.source_uuid == event.uuid
    assert delivery.destination == f"hook:{hook.pk}"
    assert delivery.due_at == AT
    assert delivery.next_attempt_at is not None
    assert delivery.next_attempt_at >= AT
    assert delivery.url == URL
    assert (delivery.organization, delivery.command, delivery.user) == (
        alice.caller.organization,
        alice.caller.command,
        alice.caller.user,
    )


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        (AT, "1707157671.495433"),
        (AT.replace(microsecond=0), "1707157671.0"),
        (AT.replace(microsecond=1), "1707157671.000001"),
        (datetime(2099, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), "4102444799.999999"),
    ],
)
def test_the_timestamp_is_in_seconds_exact_to_the_microsecond(alice: ApiClient, at: datetime, expected: str) -> None:
    make_hook(alice.caller)

    published([event_in(alice.caller.organization, happened_at=at)])

    assert f'"event_timestamp":{expected},' in Delivery.objects.get().body


def test_the_timestamp_of_a_published_event_is_the_database_time(alice: ApiClient) -> None:
    make_hook(alice.caller)
    before = clock.now()

    alice.post(PATH, BODY)
    fan_out()

    delivery = Delivery.objects.get()
    assert before <= delivery.due_at <= clock.now()
    assert orjson.loads(delivery.body)["event_timestamp"] == delivery.due_at.timestamp()


def test_a_subscriber_receives_the_event_signed(receiver: Receiver) -> None:
    client = ApiClient(make_caller(callback_url=receiver.url))
    number = client.post(SUBSCRIBE, {"subscriptions": ["forms.*"], "subscribed_objects": ["form-1"]}).json()[
        "hook_uuid"
    ]

    client.post(PATH, BODY)
    fan_out()
    process_sender().drain()

    (request,) = receiver.requests
    command = client.caller.command
    assert list(request.json) == [
        *("event", "event_timestamp", "hook", "body"),
        *("event_uuid", "user_uuid", "user_full_name", "exchange_token"),
    ]
    assert request.json["event"] == "forms.response.created"
    assert isinstance(request.json["event_timestamp"], float)
    assert request.json["hook"] == {"id": number, "name": command.name}
    assert request.json["body"] == {"form": "form-1", "n": 1.5}
    assert request.headers["content-type"] == "application/json"
    assert request.headers["x-dailybot-signature"] == command.signature
    assert Webhook(command.signing_secret).verify(request.body, request.headers)
    assert Delivery.objects.get().state == State.DELIVERED


@pytest.mark.parametrize(
    ("subscriptions", "subscribed_objects", "expected"),
    [
        (["forms.response.created"], [], 1),
        (["forms.*"], ["form-1"], 1),
        (["forms.*"], ["form-2"], 0),
        (["*"], [], 1),
        (["kudos.*", "forms.response.*"], [], 1),
        (["kudos.*"], [], 0),
        (["kudos.*"], ["form-1"], 0),
        (["forms.response"], [], 0),
    ],
)
def test_a_hook_receives_the_events_it_subscribes_to(
    alice: ApiClient, subscriptions: list[str], subscribed_objects: list[str], expected: int
) -> None:
    alice.post(SUBSCRIBE, {"subscriptions": subscriptions, "subscribed_objects": subscribed_objects})

    answer = alice.post(PATH, BODY).json()

    assert answer["deliveries"] == expected
    assert fan_out() == expected


def test_an_event_stays_in_the_organization_of_the_api_key(alice: ApiClient, mallory: ApiClient) -> None:
    hook = make_hook(alice.caller)
    make_hook(mallory.caller)

    alice.post(PATH, BODY)
    assert mallory.post(PATH, BODY, token=alice.caller.token).json()["deliveries"] == 1
    fan_out()

    own = Delivery.objects.filter(organization=alice.caller.organization)
    assert [delivery.destination for delivery in own] == [hook.destination]


def test_a_public_command_receives_events_of_its_users_organization() -> None:
    owner = make_caller(is_public=True, callback_url=URL)
    guest = make_user(make_organization())
    make_installation(owner.command, guest.organization)
    hook = make_hook(owner, organization=guest.organization, user=guest)

    assert published([event_in(guest.organization)]) == 1
    assert published([event_in(owner.organization)]) == 0

    delivery = Delivery.objects.get()
    assert (delivery.organization, delivery.destination) == (guest.organization, hook.destination)
    assert delivery.state == State.PENDING


def deactivate_organization(caller: Caller) -> None:
    Organization.objects.filter(pk=caller.organization.pk).update(is_active=False)


def deactivate_command(caller: Caller) -> None:
    Command.objects.filter(pk=caller.command.pk).update(is_active=False)


def deactivate_user(caller: Caller) -> None:
    User.objects.filter(pk=caller.user.pk).update(is_active=False)


def remove_callback_url(caller: Caller) -> None:
    Command.objects.filter(pk=caller.command.pk).update(callback_url="")


def move_command_away(caller: Caller) -> None:
    Command.objects.filter(pk=caller.command.pk).update(organization=make_organization(), is_public=False)


def move_command_to_inactive_organization(caller: Caller) -> None:
    elsewhere = make_organization(is_active=False)
    Command.objects.filter(pk=caller.command.pk).update(organization=elsewhere, is_public=True)


@pytest.mark.parametrize(
    ("happens", "reason"),
    [
        (deactivate_organization, Reason.ORGANIZATION_INACTIVE),
        (deactivate_command, Reason.COMMAND_INACTIVE),
        (move_command_away, Reason.COMMAND_INACTIVE),
        (move_command_to_inactive_organization, Reason.COMMAND_INACTIVE),
        (deactivate_user, Reason.USER_INACTIVE),
        (remove_callback_url, Reason.NO_CALLBACK_URL),
    ],
)
def test_an_event_that_cannot_be_sent_to_a_hook_is_recorded_as_skipped(
    alice: ApiClient, happens: Any, reason: Reason
) -> None:
    hook = make_hook(alice.caller)
    happens(alice.caller)

    assert published([event_in(alice.caller.organization)]) == 1

    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.reason) == (State.SKIPPED, reason)
    assert (delivery.destination, delivery.url, delivery.body) == (hook.destination, "", "")
    assert delivery.finished_at is not None
