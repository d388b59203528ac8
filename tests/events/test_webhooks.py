"""`/v1/webhook-subscription/`."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from standardwebhooks import Webhook

from commands_platform.lib import clock
from deliveries.models import Delivery, State
from deliveries.sender import process_sender
from events.gone import remove_gone_hooks
from events.models import Hook, OutboxEvent
from organizations.models import Command
from tests.api import ApiClient
from tests.audit.changes import changes_of
from tests.events.hooks import event_in
from tests.factories import make_api_key, make_command
from tests.outbox import published
from tests.receiver import Answer, Receiver

pytestmark = pytest.mark.django_db

PATH = "/v1/webhook-subscription/"
URL = "http://127.0.0.1:9000/webhooks"


def subscribe(client: ApiClient, url: str = URL, **values: Any) -> Any:
    response = client.post(PATH, {"hook_url": url, "subscriptions": ["kudos.*"], **values}, token=None)
    assert response.status_code == 201, response.content
    return response.json()


def test_events_of_the_organization_reach_the_url(alice: ApiClient, receiver: Receiver) -> None:
    made = subscribe(alice, receiver.url, name="Kudos", bearer="s3cret-of-the-receiver")
    published([event_in(alice.caller.organization, body={"n": 1})])

    process_sender().drain()

    (request,) = receiver.requests
    assert (request.json["event"], request.json["body"]) == ("kudos.posted", {"n": 1})
    assert request.json["hook"] == {"id": made["id"], "name": "Kudos"}
    assert request.headers["x-bearer"] == "s3cret-of-the-receiver"
    assert request.json["user_uuid"] is None
    Webhook(alice.caller.command.signing_secret).verify(request.body, request.headers)


def test_the_bearer_is_shown_nowhere(alice: ApiClient) -> None:
    made = subscribe(alice, bearer="s3cret-of-the-receiver")
    hook = Hook.objects.get(pk=made["id"])

    assert made == alice.get(PATH).json()["results"][0]
    assert "s3cret" not in str(made)
    assert "s3cret" not in str([(change.old, change.new) for change in changes_of(hook)])
    assert Hook.objects.filter(pk=hook.pk, headers__isnull=False).exists()


def test_a_key_without_a_command_signs_with_the_command_webhooks(alice: ApiClient) -> None:
    unbound = ApiClient(alice.caller.with_scopes("EVENT_SUBSCRIPTION", "MANAGE"))

    ids = {subscribe(unbound, f"{URL}/{number}")["id"] for number in (1, 2)}

    command = Command.objects.get(organization=alice.caller.organization, name="webhooks")
    assert set(Hook.objects.filter(command=command).values_list("pk", flat=True)) == ids


def test_the_same_url_again_replaces_the_subscription(alice: ApiClient) -> None:
    first = subscribe(alice)

    second = subscribe(alice, subscriptions="forms.*", name="Forms")

    assert (second["id"], second["subscriptions"], second["name"]) == (first["id"], ["forms.*"], "Forms")
    assert [change.verb for change in changes_of(Hook.objects.get())] == ["created", "changed"]


def test_it_leaves_the_commands_own_hook_alone(alice: ApiClient) -> None:
    path = "/v1/platform/event-subscription/"
    token = alice.post(path, {"subscriptions": ["kudos.*"]}).json()["hook_uuid"]
    webhook = subscribe(alice)["id"]

    assert alice.get(path).json()["hook_uuid"] == token
    assert [each["id"] for each in alice.get(PATH).json()["results"]] == [webhook]
    alice.delete(path)
    assert list(Hook.objects.values_list("pk", flat=True)) == [webhook]


def test_a_sample_is_sent_at_once_if_it_is_asked_for(alice: ApiClient, receiver: Receiver) -> None:
    subscribe(alice, receiver.url, subscriptions=["kudos.*", "platform.hook.removed"], immediate_sample_event=True)
    subscribe(alice, f"{receiver.url}/other", immediate_sample_event=True)

    process_sender().drain()

    samples = {request.json["event"]: request.json["body"] for request in receiver.requests}
    assert set(samples) == {"platform.hook.removed", "platform.hook.test"}
    assert samples["platform.hook.removed"]["reason"] == "gone"


@pytest.mark.parametrize("choose", [lambda made: {"id": made["id"]}, lambda made: {"hook_url": made["hook_url"]}])
def test_a_subscription_is_removed_by_its_id_or_its_url(alice: ApiClient, choose: Any) -> None:
    made = subscribe(alice)
    published([event_in(alice.caller.organization)])

    assert alice.delete(PATH, choose(made)).status_code == 204
    assert alice.delete(PATH, choose(made)).status_code == 404
    assert Delivery.objects.get().state == State.CANCELLED
    assert alice.delete(PATH, {}).status_code == 400
    again = subscribe(alice)
    assert alice.delete(f"{PATH}?id={again['id']}").status_code == 204


def test_a_410_removes_the_subscription_and_says_so(alice: ApiClient, receiver: Receiver) -> None:
    receiver.always_answer(lambda _: Answer(status=410))
    made = subscribe(alice, receiver.url)
    listener = subscribe(alice, f"{URL}/listener", subscriptions=["platform.hook.removed"])
    published([event_in(alice.caller.organization)])
    process_sender().drain()

    assert remove_gone_hooks(since=clock.now() - timedelta(minutes=1)) == 1

    assert list(Hook.objects.values_list("pk", flat=True)) == [listener["id"]]
    event = OutboxEvent.objects.get()
    assert (event.name, event.object_id) == ("platform.hook.removed", str(made["id"]))


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"hook_url": "nonsense"}, "hook_url"),
        ({"hook_url": "http://169.254.169.254/"}, "hook_url"),
        ({"hook_url": None}, "hook_url"),
        ({"subscriptions": ["Kudos"]}, "subscriptions"),
        ({"subscriptions": []}, "subscriptions"),
        ({"bearer": "ключ"}, "bearer"),
    ],
)
def test_a_wrong_value_is_refused(alice: ApiClient, given: dict[str, Any], field: str) -> None:
    response = alice.post(PATH, {"hook_url": URL, "subscriptions": ["kudos.*"], **given})

    assert (response.status_code, list(response.json()["errors"])) == (400, [field])


def test_a_sample_has_the_form_of_the_callback(alice: ApiClient) -> None:
    sample = alice.post(f"{PATH}sample/", {"event": "organization.user_activated"}).json()

    assert list(sample) == ["event", "event_timestamp", "hook", "body"]
    assert set(sample["body"]) == {"user_uuid", "full_name"}
    assert alice.post(f"{PATH}sample/", {"event": "forms.response.created"}).json()["body"] == {}


def test_strangers_and_other_commands_do_not_see_a_subscription(alice: ApiClient, mallory: ApiClient) -> None:
    made = subscribe(alice)
    _, other = make_api_key(command=make_command(alice.caller.organization))

    for client, options in ((mallory, {}), (alice, {"key": other})):
        assert client.get(PATH, **options).json()["results"] == []
        assert client.delete(PATH, {"id": made["id"]}, **options).status_code == 404
    unbound = make_api_key(alice.caller.organization)[1]
    assert [each["id"] for each in alice.get(PATH, key=unbound).json()["results"]] == [made["id"]]


def test_subscriptions_need_the_scope_and_a_key(alice: ApiClient) -> None:
    scopeless = ApiClient(alice.caller.with_scopes("STORAGE"))
    body = {"hook_url": URL, "subscriptions": ["kudos.*"]}

    for client, options, status in ((scopeless, {}, 403), (alice, {"key": None}, 401)):
        for response in (
            client.get(PATH, **options),
            client.post(PATH, body, **options),
            client.delete(PATH, {"hook_url": URL}, **options),
            client.post(f"{PATH}sample/", {}, **options),
        ):
            assert response.status_code == status
