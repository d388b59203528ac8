"""Reading and testing a hook, the catalogue of events, and the deliveries of one event."""

from __future__ import annotations

from uuid import uuid4

import orjson
import pytest

from deliveries.models import Delivery, State
from deliveries.sender import process_sender
from events.catalogue import event_types
from events.models import Hook
from organizations.models import Command
from tests.admin import confirm, make_operator
from tests.api import ApiClient, make_caller
from tests.events.hooks import BODY, PATH, URL, event_in, make_hook
from tests.events.subscriptions import BODY as SUBSCRIPTION
from tests.events.subscriptions import MISSING_TOKEN
from tests.events.subscriptions import PATH as SUBSCRIBE
from tests.factories import make_api_key, make_command, make_token, read_token
from tests.outbox import fan_out, published
from tests.receiver import Receiver

pytestmark = pytest.mark.django_db

TEST = f"{SUBSCRIBE}test/"
TYPES = f"{PATH}types/"


def test_a_hook_is_shown(alice: ApiClient) -> None:
    number = alice.post(SUBSCRIBE, SUBSCRIPTION).json()["hook_uuid"]

    answer = alice.get(SUBSCRIBE).json()

    assert {key: answer[key] for key in ("hook_uuid", "subscriptions", "subscribed_objects")} == {
        "hook_uuid": number,
        **SUBSCRIPTION,
    }


def test_without_a_hook_there_is_nothing_to_show_or_to_test(alice: ApiClient, mallory: ApiClient) -> None:
    make_hook(alice.caller)

    for response in (mallory.get(SUBSCRIBE), mallory.post(TEST, {})):
        assert response.status_code == 404
    for response in (alice.get(SUBSCRIBE, token=None), alice.post(TEST, {}, token=None)):
        assert (response.status_code, response.json()) == (400, MISSING_TOKEN)
    for response in (alice.get(SUBSCRIBE, key=None), alice.post(TEST, {}, key=None), alice.get(TYPES, key=None)):
        assert response.status_code == 401


def test_a_test_reaches_the_hook_whatever_it_subscribes_to(receiver: Receiver) -> None:
    client = ApiClient(make_caller(callback_url=receiver.url))
    number = client.post(SUBSCRIBE, SUBSCRIPTION).json()["hook_uuid"]

    response = client.post(TEST, {})
    process_sender().drain()

    (request,) = receiver.requests
    assert response.status_code == 202
    assert response.json() == {"event_uuid": request.json["event_uuid"], "event": "platform.hook.test"}
    assert (request.json["event"], request.json["hook"]["id"]) == ("platform.hook.test", number)


def test_a_test_can_be_a_sample_of_a_type_or_an_event_of_ones_own(alice: ApiClient) -> None:
    make_hook(alice.caller)

    for given, body in (
        ({"event": "platform.hook.removed"}, {"hook_id", "command_uuid", "user_uuid", "subscriptions", "reason"}),
        ({"event": "forms.response.created", "body": {"answer": 42}}, {"answer"}),
        ({"event": "forms.response.created"}, set()),
    ):
        uuid = alice.post(TEST, given).json()["event_uuid"]
        sent = orjson.loads(Delivery.objects.of_source(uuid).get().body)
        assert (sent["event"], set(sent["body"])) == (given["event"], body)


def test_a_test_that_cannot_be_sent_says_why(alice: ApiClient) -> None:
    make_hook(alice.caller)

    Command.objects.update(callback_url="")
    assert "It cannot be sent" in alice.post(TEST, {}).json()["details"]
    Command.objects.update(callback_url=URL)
    assert "lower-case" in alice.post(TEST, {"event": "Forms"}).json()["details"]
    assert "bytes" in alice.post(TEST, {"body": {"a": "x" * 65_536}}).json()["details"]


def test_an_operator_sends_a_sample() -> None:
    hook = make_hook(make_caller(callback_url=URL))

    confirm(make_operator(is_superuser=True), hook, "send_sample")

    assert Delivery.objects.get().destination == hook.destination


def test_the_catalogue_has_a_sample_of_each_event_of_the_platform(alice: ApiClient) -> None:
    results = alice.get(TYPES).json()["results"]

    names = [each["event"] for each in results]
    assert names == sorted(names) == [each.name for each in event_types()]
    assert {"platform.delivery.failed", "platform.schedule.completed", "organization.user_activated"} <= set(names)
    assert all(each["body"] and each["description"] for each in results)


def test_a_hook_can_act_with_the_token_of_its_callback(receiver: Receiver) -> None:
    client = ApiClient(make_caller(callback_url=receiver.url))
    caller = client.caller
    client.post(SUBSCRIBE, {"subscriptions": ["forms.*"]})
    answer = client.post(PATH, BODY).json()
    fan_out()

    process_sender().drain()

    (request,) = receiver.requests
    assert request.json["event_uuid"] == answer["uuid"]
    assert request.json["user_uuid"] == str(caller.user.uuid)
    assert request.json["user_full_name"] == caller.user.full_name
    assert client.get("/v1/platform/activity/", token=request.json["exchange_token"]).status_code == 200
    assert "cmdt_" not in Delivery.objects.get().body


def test_the_token_of_a_hook_without_a_user_acts_for_the_command_alone(receiver: Receiver) -> None:
    caller = make_caller(callback_url=receiver.url)
    make_hook(caller, user=None)
    published([event_in(caller.organization)])

    process_sender().drain()

    (request,) = receiver.requests
    subject = read_token(request.json["exchange_token"])
    assert subject is not None
    assert (subject.command, subject.user) == (caller.command, None)
    assert (request.json["user_uuid"], request.json["user_full_name"]) == (None, None)


def test_an_event_tells_its_deliveries(alice: ApiClient) -> None:
    Command.objects.update(callback_url="")
    hook = make_hook(alice.caller)
    uuid = alice.post(PATH, BODY).json()["uuid"]

    before = alice.get(f"{PATH}{uuid}/").json()
    fan_out()
    after = alice.get(f"{PATH}{uuid}/").json()

    assert (before["event"], before["is_fanned_out"], before["counts"]) == (BODY["event"], False, {})
    assert (after["is_fanned_out"], after["counts"], after["happened_at"]) == (
        True,
        {"skipped": 1},
        before["happened_at"],
    )
    (delivery,) = after["deliveries"]["results"]
    assert (delivery["hook_id"], delivery["state"], delivery["reason"]) == (hook.pk, "skipped", "no_callback_url")


def test_a_bound_key_sees_only_the_deliveries_to_its_command(alice: ApiClient) -> None:
    other = make_command(alice.caller.organization)
    make_hook(alice.caller)
    make_hook(alice.caller, command=other)
    uuid = alice.post(PATH, BODY).json()["uuid"]
    fan_out()
    unbound = make_api_key(alice.caller.organization)[1]

    own = alice.get(f"{PATH}{uuid}/").json()
    every = alice.get(f"{PATH}{uuid}/", key=unbound, token=None).json()

    assert own["counts"] == every["counts"] == {"skipped": 1, "pending": 1}
    assert [each["state"] for each in own["deliveries"]["results"]] == [State.PENDING]
    assert every["event"] == BODY["event"]
    assert len(every["deliveries"]["results"]) == 2


def test_a_strangers_event_is_not_found(alice: ApiClient, mallory: ApiClient) -> None:
    make_hook(alice.caller)
    uuid = alice.post(PATH, BODY).json()["uuid"]

    assert mallory.get(f"{PATH}{uuid}/").status_code == 404
    fan_out()
    for path in (f"{PATH}{uuid}/", f"{PATH}{uuid4()}/", f"{PATH}nonsense/"):
        assert mallory.get(path).json() == {"detail": "Not found.", "code": "not_found"}
    assert alice.get(f"{PATH}{uuid}/", key=None).status_code == 401
    assert alice.get(f"{PATH}{uuid}/", token="void").status_code == 400
    scopeless = ApiClient(alice.caller.with_scopes("STORAGE"))
    assert scopeless.get(f"{PATH}{uuid}/").status_code == 403


def test_the_colleagues_hook_of_another_command_is_another_one(alice: ApiClient) -> None:
    make_hook(alice.caller)
    command = make_command(alice.caller.organization)
    _, key = make_api_key(command=command)

    assert alice.get(SUBSCRIBE, key=key, token=make_token(command, alice.caller.user)).status_code == 404
    assert Hook.objects.count() == 1
