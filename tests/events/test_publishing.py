"""From an event to the ledger: `/v1/platform/events/`, and what the ledger then holds."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
import pytest
from pytest_django import DjangoAssertNumQueries, DjangoCaptureOnCommitCallbacks
from standardwebhooks import Webhook

from commands_platform.lib import clock
from deliveries.models import Delivery, Kind, Reason, State
from deliveries.sender import process_sender
from events.models import Hook
from events.publishing import NewEvent, publish
from organizations.models import Command, Organization, User
from tests.api import ApiClient, Caller, make_caller
from tests.factories import make_command, make_installation, make_organization, make_user
from tests.lib.hostile import HOSTILE_BODIES, HOSTILE_CONTENT_TYPES
from tests.receiver import Receiver

pytestmark = pytest.mark.django_db

PATH = "/v1/platform/events/"
SUBSCRIBE = "/v1/platform/event-subscription/"
URL = "http://127.0.0.1:9/callback"
BODY = {"event": "forms.response.created", "body": {"form": "form-1", "n": 1.5}, "object": "form-1"}
AT = datetime(2024, 2, 5, 18, 27, 51, 495433, tzinfo=UTC)


@pytest.fixture
def alice(db: None) -> ApiClient:
    """The owner, whose command can be called."""
    return ApiClient(make_caller(callback_url=URL))


def make_hook(caller: Caller, *subscriptions: str, **values: Any) -> Hook:
    return Hook.objects.create(
        **{
            "organization": caller.organization,
            "command": caller.command,
            "user": caller.user,
            "subscriptions": list(subscriptions or ["*"]),
            **values,
        }
    )


def event_in(organization: Organization, name: str = "kudos.posted", **values: Any) -> NewEvent:
    return NewEvent(
        **{
            "organization_id": organization.pk,
            "name": name,
            "body": {},
            "object_id": None,
            "happened_at": AT,
            **values,
        }
    )


@pytest.mark.parametrize("path", [PATH, PATH.removesuffix("/")])
def test_a_published_event_is_accepted_with_its_uuid_and_the_number_of_hooks(alice: ApiClient, path: str) -> None:
    make_hook(alice.caller)
    make_hook(alice.caller, "forms.*", user=None)

    response = alice.post(path, BODY)

    answer = response.json()
    assert response.status_code == 202
    assert list(answer) == ["uuid", "deliveries"]
    assert answer["deliveries"] == 2
    assert Delivery.objects.of_source(UUID(answer["uuid"])).count() == 2


def test_no_token_is_needed(alice: ApiClient) -> None:
    make_hook(alice.caller)

    response = alice.post(PATH, BODY, token=None)

    assert (response.status_code, response.json()["deliveries"]) == (202, 1)


def test_the_ledger_holds_the_exact_body_of_the_callback(alice: ApiClient) -> None:
    hook = make_hook(alice.caller, "forms.*")
    event = event_in(
        alice.caller.organization, "forms.response.created", body={"answers": [1, "é"], "a": None}, object_id="form-1"
    )

    assert publish([event]) == 1

    delivery = Delivery.objects.get()
    assert delivery.body == (
        '{"event":"forms.response.created","event_timestamp":1707157671.495433,'
        f'"hook":{{"id":{hook.pk},"name":"{alice.caller.command.name}"}},'
        '"body":{"answers":[1,"é"],"a":null}}'
    )
    assert (delivery.kind, delivery.state) == (Kind.EVENT, State.PENDING)
    assert delivery.source_uuid == event.uuid
    assert delivery.destination == f"hook:{hook.pk}"
    assert delivery.due_at == delivery.next_attempt_at == AT
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
def test_the_timestamp_is_in_seconds_and_exact_to_the_microsecond(
    alice: ApiClient, at: datetime, expected: str
) -> None:
    make_hook(alice.caller)

    publish([event_in(alice.caller.organization, happened_at=at)])

    assert f'"event_timestamp":{expected},' in Delivery.objects.get().body


def test_the_timestamp_of_a_published_event_is_the_databases_time(alice: ApiClient) -> None:
    make_hook(alice.caller)
    before = clock.now()

    alice.post(PATH, BODY)

    delivery = Delivery.objects.get()
    assert before <= delivery.due_at <= clock.now()
    assert orjson.loads(delivery.body)["event_timestamp"] == delivery.due_at.timestamp()


def test_a_subscriber_receives_the_event_signed(receiver: Receiver) -> None:
    client = ApiClient(make_caller(callback_url=receiver.url))
    number = client.post(SUBSCRIBE, {"subscriptions": ["forms.*"], "subscribed_objects": ["form-1"]}).json()[
        "hook_uuid"
    ]

    client.post(PATH, BODY)
    process_sender().drain()

    (request,) = receiver.requests
    command = client.caller.command
    assert list(request.json) == ["event", "event_timestamp", "hook", "body"]
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
def test_a_hook_fires_for_what_it_asks_for(
    alice: ApiClient, subscriptions: list[str], subscribed_objects: list[str], expected: int
) -> None:
    alice.post(SUBSCRIBE, {"subscriptions": subscriptions, "subscribed_objects": subscribed_objects})

    answer = alice.post(PATH, BODY).json()

    assert answer["deliveries"] == expected
    assert Delivery.objects.count() == expected


@pytest.mark.parametrize("event", [{"event": "forms.created"}, {"event": "forms.created", "object": None}])
def test_an_event_without_an_object_reaches_hooks_on_any_object_and_has_an_empty_body(
    alice: ApiClient, event: dict[str, object]
) -> None:
    make_hook(alice.caller, subscribed_objects=["form-1"])

    assert alice.post(PATH, event).json()["deliveries"] == 1

    assert orjson.loads(Delivery.objects.get().body)["body"] == {}


def test_an_event_stays_in_the_api_keys_organization(alice: ApiClient, mallory: ApiClient) -> None:
    hook = make_hook(alice.caller)
    make_hook(mallory.caller)

    alice.post(PATH, BODY)
    assert mallory.post(PATH, BODY, token=alice.caller.token).json()["deliveries"] == 1

    own = Delivery.objects.filter(organization=alice.caller.organization)
    assert [delivery.destination for delivery in own] == [hook.destination]


def test_a_public_command_hears_of_its_users_organization() -> None:
    owner = make_caller(is_public=True, callback_url=URL)
    guest = make_user(make_organization())
    make_installation(owner.command, guest.organization)
    hook = make_hook(owner, organization=guest.organization, user=guest)

    assert publish([event_in(guest.organization)]) == 1
    assert publish([event_in(owner.organization)]) == 0

    delivery = Delivery.objects.get()
    assert (delivery.organization, delivery.destination) == (guest.organization, hook.destination)
    assert delivery.state == State.PENDING


def skip_organization(caller: Caller) -> None:
    Organization.objects.filter(pk=caller.organization.pk).update(is_active=False)


def skip_command(caller: Caller) -> None:
    Command.objects.filter(pk=caller.command.pk).update(is_active=False)


def skip_user(caller: Caller) -> None:
    User.objects.filter(pk=caller.user.pk).update(is_active=False)


def skip_url(caller: Caller) -> None:
    Command.objects.filter(pk=caller.command.pk).update(callback_url="")


def move_command_away(caller: Caller) -> None:
    Command.objects.filter(pk=caller.command.pk).update(organization=make_organization(), is_public=False)


def move_command_to_inactive_organization(caller: Caller) -> None:
    elsewhere = make_organization(is_active=False)
    Command.objects.filter(pk=caller.command.pk).update(organization=elsewhere, is_public=True)


@pytest.mark.parametrize(
    ("happens", "reason"),
    [
        (skip_organization, Reason.ORGANIZATION_INACTIVE),
        (skip_command, Reason.COMMAND_INACTIVE),
        (move_command_away, Reason.COMMAND_INACTIVE),
        (move_command_to_inactive_organization, Reason.COMMAND_INACTIVE),
        (skip_user, Reason.USER_INACTIVE),
        (skip_url, Reason.NO_CALLBACK_URL),
    ],
)
def test_a_hook_that_nothing_can_be_sent_to_is_recorded_as_skipped(
    alice: ApiClient, happens: Any, reason: Reason
) -> None:
    hook = make_hook(alice.caller)
    happens(alice.caller)

    assert publish([event_in(alice.caller.organization)]) == 1

    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.reason) == (State.SKIPPED, reason)
    assert (delivery.destination, delivery.url, delivery.body) == (hook.destination, "", "")
    assert delivery.finished_at is not None


def test_an_event_that_is_published_twice_is_written_once(alice: ApiClient) -> None:
    make_hook(alice.caller)
    event = event_in(alice.caller.organization)

    assert publish([event, event]) == 1
    assert publish([event]) == 0


def test_many_events_go_to_the_hooks_of_their_own_organizations(alice: ApiClient, mallory: ApiClient) -> None:
    mine = make_hook(alice.caller, "kudos.*")
    theirs = make_hook(mallory.caller, "forms.*")
    events = [
        event_in(caller.organization, name)
        for caller in (alice.caller, mallory.caller)
        for name in ("kudos.posted", "forms.created", "other")
    ]

    assert publish(events) == 2

    found = Delivery.objects.values_list("destination", "organization")
    assert set(found) == {
        (mine.destination, alice.caller.organization.pk),
        (theirs.destination, mallory.caller.organization.pk),
    }


def test_without_hooks_publishing_is_one_query(
    alice: ApiClient, mallory: ApiClient, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    make_hook(mallory.caller)
    make_hook(alice.caller, "forms.*")

    with django_assert_num_queries(1):
        assert publish([event_in(alice.caller.organization) for _ in range(100)]) == 0


def test_a_sender_is_told_once_after_the_commit_and_only_if_there_is_something(
    alice: ApiClient, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    make_hook(alice.caller, "kudos.*")

    with django_capture_on_commit_callbacks() as callbacks:
        publish([event_in(alice.caller.organization, "other")])
    assert callbacks == []

    with django_capture_on_commit_callbacks(execute=True) as callbacks:
        publish([event_in(alice.caller.organization) for _ in range(2)])
    assert len(callbacks) == 1


def test_publishing_nothing_is_no_query(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    with django_assert_num_queries(0):
        assert publish([]) == 0


def test_the_number_of_statements_does_not_grow_with_hooks_or_events(
    alice: ApiClient, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for _ in range(20):
        make_hook(alice.caller, command=make_command(alice.caller.organization, callback_url=URL))

    # The hooks, the time, and the rows; inside a transaction there is no further one.
    with django_assert_num_queries(3):
        assert publish([event_in(alice.caller.organization) for _ in range(10)]) == 200


def test_a_great_deal_of_text_is_written_a_part_at_a_time(
    alice: ApiClient, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    make_hook(alice.caller)
    body = {"text": "x" * 63_000}
    events = [event_in(alice.caller.organization, body=body) for _ in range(100)]

    with django_assert_num_queries(4):
        assert publish(events) == 100


def test_many_rows_are_written_a_part_at_a_time(
    alice: ApiClient, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    make_hook(alice.caller)

    with django_assert_num_queries(5):
        assert publish([event_in(alice.caller.organization) for _ in range(2001)]) == 2001


@pytest.mark.parametrize("name", ["platform.delivery.failed", "platform.anything", "platform"])
def test_the_platforms_own_names_cannot_be_published(alice: ApiClient, name: str) -> None:
    make_hook(alice.caller)

    response = alice.post(PATH, {"event": name})

    message = "Only the platform itself publishes events of this name."
    assert response.status_code == 400
    assert response.json() == {
        "detail": message,
        "code": "params_validation_error",
        "errors": {"event": [message]},
    }
    assert not Delivery.objects.exists()


@pytest.mark.parametrize("name", ["organization.user_activated", "organization.user_deactivated"])
def test_nobody_can_make_it_look_as_if_a_user_came_or_went(alice: ApiClient, name: str) -> None:
    assert alice.post(PATH, {"event": name}).status_code == 400


@pytest.mark.parametrize("name", ["organization.renamed", "organization", "platforms.changed", "my.platform.failed"])
def test_names_that_are_only_similar_can_be_published(alice: ApiClient, name: str) -> None:
    assert alice.post(PATH, {"event": name}).status_code == 202


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "event"),
        ({"event": None}, "event"),
        ({"event": 1}, "event"),
        ({"event": ""}, "event"),
        ({"event": "Forms"}, "event"),
        ({"event": "forms.*"}, "event"),
        ({"event": "*"}, "event"),
        ({"event": "forms..created"}, "event"),
        ({"event": "a" * 256}, "event"),
        ({"event": "a", "body": None}, "body"),
        ({"event": "a", "body": []}, "body"),
        ({"event": "a", "body": "x"}, "body"),
        ({"event": "a", "body": {"text": "x" * 65_536}}, "body"),
        ({"event": "a", "object": 1}, "object"),
        ({"event": "a", "object": ""}, "object"),
        ({"event": "a", "object": "x" * 256}, "object"),
        ([], "non_field_errors"),
    ],
)
def test_what_is_not_valid_is_told_with_its_field(alice: ApiClient, body: object, field: str) -> None:
    response = alice.post(PATH, body)

    answer = response.json()
    assert response.status_code == 400
    assert answer["code"] == "params_validation_error"
    assert list(answer["errors"]) == [field]
    assert answer["detail"] == answer["errors"][field][0]


def test_a_body_of_64_kib_is_taken(alice: ApiClient) -> None:
    make_hook(alice.caller)
    body = {"text": "x" * (65_536 - len('{"text":""}'))}

    assert alice.post(PATH, {"event": "a", "body": body}).status_code == 202

    assert orjson.loads(Delivery.objects.get().body)["body"] == body


def test_a_request_without_a_key_is_refused(alice: ApiClient) -> None:
    response = alice.post(PATH, BODY, key=None)

    assert response.status_code == 401
    assert response.json() == {"detail": "Authentication credentials were not provided.", "code": "not_authenticated"}


def test_a_key_without_the_scope_is_refused(alice: ApiClient) -> None:
    make_hook(alice.caller)
    client = ApiClient(alice.caller.with_scopes("EVENT_SUBSCRIPTION", "SCHEDULING"))

    response = client.post(PATH, BODY)

    assert response.status_code == 403
    assert response.json()["code"] == "insufficient_scope"
    assert not Delivery.objects.exists()


def test_a_key_with_nothing_but_the_scope_is_enough(alice: ApiClient) -> None:
    assert ApiClient(alice.caller.with_scopes("EVENTS_PUBLISH")).post(PATH, BODY).status_code == 202


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
def test_other_methods_are_not_allowed(alice: ApiClient, method: str) -> None:
    response = alice.request(method, PATH)

    assert response.status_code == 405
    assert response.json()["code"] == "method_not_allowed"


@pytest.mark.parametrize("name", HOSTILE_BODIES)
def test_a_hostile_body_is_answered_in_json(alice: ApiClient, name: str) -> None:
    response = alice.post(PATH, raw=HOSTILE_BODIES[name])

    answer = orjson.loads(response.content)
    assert response.status_code in (400, 413)
    assert {"detail", "code"} <= set(answer) <= {"detail", "code", "errors"}


@pytest.mark.parametrize("content_type", HOSTILE_CONTENT_TYPES)
def test_a_hostile_content_type_is_answered_in_json(alice: ApiClient, content_type: str) -> None:
    response = alice.post(PATH, BODY, headers={"Content-Type": content_type})

    assert response.status_code < 500
    assert isinstance(orjson.loads(response.content), dict)
