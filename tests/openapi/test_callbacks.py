"""Callbacks have exactly the keys, and all the headers, that the OpenAPI document declares."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from deliveries.tasks import deliver_pending
from scheduling import dispatch
from tests.api import ApiClient, make_caller
from tests.openapi.document import document, errors_of, operations
from tests.outbox import fan_out
from tests.receiver import Receiver

pytestmark = pytest.mark.django_db(transaction=True)


def undeclared(operation: dict[str, Any], received: Any) -> list[str]:
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    names = {name.lower() for name in received.headers}
    missing = [parameter["name"] for parameter in operation["parameters"] if parameter["name"].lower() not in names]
    return errors_of(orjson.loads(received.body), schema) + missing


def test_the_callback_of_a_run_matches_the_document(receiver: Receiver) -> None:
    client = ApiClient(make_caller(callback_url=receiver.url))
    client.post("/v1/platform/scheduling/", {"name": "a", "payload": {"b": 1}})
    dispatch.dispatch_due()
    deliver_pending()

    (create,) = (operation for operation in operations() if operation.id == "create_schedule")
    callback = create.spec["callbacks"]["run"]["{$request.body#/callback_url}"]["post"]
    (received,) = receiver.requests
    assert undeclared(callback, received) == []


def test_the_callback_of_an_event_matches_the_document(receiver: Receiver) -> None:
    client = ApiClient(make_caller(callback_url=receiver.url))
    client.post("/v1/platform/event-subscription/", {"subscriptions": ["forms.*"]})
    client.post("/v1/platform/events/", {"event": "forms.response.created", "body": {"answer": 42}})
    fan_out()
    deliver_pending()

    (received,) = receiver.requests
    assert undeclared(document()["webhooks"]["event"]["post"], received) == []
