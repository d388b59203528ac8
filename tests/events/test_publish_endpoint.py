"""`POST /v1/platform/events/`: who may publish which events."""

from __future__ import annotations

from uuid import UUID

import orjson
import pytest

from deliveries.models import Delivery
from events.models import OutboxEvent
from tests.api import ApiClient
from tests.events.hooks import BODY, PATH, make_hook
from tests.lib.hostile import HOSTILE_BODIES, HOSTILE_CONTENT_TYPES
from tests.outbox import fan_out

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("path", [PATH, PATH.removesuffix("/")])
def test_publishing_returns_the_events_uuid_and_the_number_of_deliveries(alice: ApiClient, path: str) -> None:
    make_hook(alice.caller)
    make_hook(alice.caller, "forms.*", user=None)

    response = alice.post(path, BODY)

    answer = response.json()
    assert response.status_code == 202
    assert list(answer) == ["uuid", "deliveries"]
    assert answer["deliveries"] == fan_out() == 2
    assert Delivery.objects.of_source(UUID(answer["uuid"])).count() == 2


def test_no_token_is_needed(alice: ApiClient) -> None:
    make_hook(alice.caller)

    response = alice.post(PATH, BODY, token=None)

    assert (response.status_code, response.json()["deliveries"]) == (202, 1)


@pytest.mark.parametrize("event", [{"event": "forms.created"}, {"event": "forms.created", "object": None}])
def test_an_event_without_object_and_body_reaches_hooks_on_any_object_with_an_empty_body(
    alice: ApiClient, event: dict[str, object]
) -> None:
    make_hook(alice.caller, subscribed_objects=["form-1"])

    assert alice.post(PATH, event).json()["deliveries"] == fan_out() == 1

    assert orjson.loads(Delivery.objects.get().body)["body"] == {}


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
    assert not OutboxEvent.objects.exists()


@pytest.mark.parametrize("name", ["organization.user_activated", "organization.user_deactivated"])
def test_clients_cannot_fake_the_activation_of_a_user(alice: ApiClient, name: str) -> None:
    assert alice.post(PATH, {"event": name}).status_code == 400


@pytest.mark.parametrize("name", ["organization.renamed", "organization", "platforms.changed", "my.platform.failed"])
def test_similar_names_can_be_published(alice: ApiClient, name: str) -> None:
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
def test_an_invalid_value_is_refused_with_its_field(alice: ApiClient, body: object, field: str) -> None:
    response = alice.post(PATH, body)

    answer = response.json()
    assert response.status_code == 400
    assert answer["code"] == "params_validation_error"
    assert list(answer["errors"]) == [field]
    assert answer["detail"] == answer["errors"][field][0]


def test_a_body_of_64_kib_is_accepted(alice: ApiClient) -> None:
    make_hook(alice.caller)
    body = {"text": "x" * (65_536 - len('{"text":""}'))}

    assert alice.post(PATH, {"event": "a", "body": body}).status_code == 202
    fan_out()

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
    assert not OutboxEvent.objects.exists()


def test_a_key_with_only_the_scope_is_enough(alice: ApiClient) -> None:
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
