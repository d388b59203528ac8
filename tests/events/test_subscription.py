"""`/v1/platform/event-subscription/`, over HTTP."""

from __future__ import annotations

import threading

import orjson
import pytest
from django.db import connection, transaction
from pytest_django import DjangoAssertNumQueries

from commands_platform.lib import clock
from deliveries.models import Delivery, Kind, Reason, State
from events import services
from events.models import Hook
from organizations.models import User
from tests.api import ApiClient, Caller, make_caller
from tests.factories import make_delivery, make_installation, make_organization, make_token, make_user, read_token
from tests.lib.hostile import HOSTILE_BODIES, HOSTILE_CONTENT_TYPES, HOSTILE_HEADER_VALUES
from tests.locks import wait_for_waiters

pytestmark = pytest.mark.django_db

PATH = "/v1/platform/event-subscription/"
BODY = {"subscriptions": ["forms.response.created", "kudos.*"], "subscribed_objects": ["form-1"]}
MISSING_TOKEN = {"detail": "You should specify a valid exchange token", "code": "missing_token"}


def hook_of(caller: Caller) -> Hook | None:
    return Hook.objects.filter(command=caller.command, user=caller.user).first()


def pending_event(hook: Hook) -> Delivery:
    return make_delivery(hook.command, kind=Kind.EVENT, destination=hook.destination, organization=hook.organization)


@pytest.mark.parametrize("path", [PATH, PATH.removesuffix("/")])
def test_a_subscription_answers_with_the_hooks_number(alice: ApiClient, path: str) -> None:
    response = alice.post(path, BODY)

    hook = hook_of(alice.caller)
    assert hook is not None
    assert response.status_code == 200
    assert response["Content-Type"] == "application/json"
    assert response.content == b'{"hook_uuid":%d}' % hook.pk
    assert hook.organization == alice.caller.organization
    assert hook.subscriptions == ["forms.response.created", "kudos.*"]
    assert hook.subscribed_objects == ["form-1"]


@pytest.mark.parametrize("given", [{}, {"subscribed_objects": None}])
def test_subscribed_objects_are_empty_by_default(alice: ApiClient, given: dict[str, None]) -> None:
    alice.post(PATH, {"subscriptions": ["kudos.posted"]} | given)

    hook = hook_of(alice.caller)
    assert hook is not None
    assert hook.subscribed_objects == []


def test_a_bare_string_is_taken_as_one_subscription(alice: ApiClient) -> None:
    response = alice.post(PATH, {"subscriptions": "kudos.posted"})

    hook = hook_of(alice.caller)
    assert response.status_code == 200
    assert hook is not None
    assert hook.subscriptions == ["kudos.posted"]


def test_fields_that_are_not_known_are_ignored(alice: ApiClient) -> None:
    assert alice.post(PATH, BODY | {"colour": "blue"}).status_code == 200


def test_repeated_entries_are_kept_once_and_in_their_order(alice: ApiClient) -> None:
    alice.post(PATH, {"subscriptions": ["b.c", "a", "b.c"], "subscribed_objects": ["2", "1", "2"]})

    hook = hook_of(alice.caller)
    assert hook is not None
    assert hook.subscriptions == ["b.c", "a"]
    assert hook.subscribed_objects == ["2", "1"]


def test_a_second_post_replaces_the_lists_and_keeps_the_number(alice: ApiClient) -> None:
    first = alice.post(PATH, BODY).json()
    made = hook_of(alice.caller)

    second = alice.post(PATH, {"subscriptions": ["*"]}).json()

    hook = hook_of(alice.caller)
    assert second == first
    assert made is not None
    assert hook is not None
    assert (hook.subscriptions, hook.subscribed_objects) == (["*"], [])
    assert hook.created_at == made.created_at
    assert hook.updated_at > made.updated_at


def test_what_was_published_for_the_old_lists_is_still_sent(alice: ApiClient) -> None:
    alice.post(PATH, BODY)
    hook = hook_of(alice.caller)
    assert hook is not None
    delivery = pending_event(hook)

    alice.post(PATH, {"subscriptions": ["other"]})

    delivery.refresh_from_db()
    assert delivery.state == State.PENDING


def test_each_user_of_a_command_has_a_hook_of_their_own(alice: ApiClient) -> None:
    colleague = make_user(alice.caller.organization)

    mine = alice.post(PATH, BODY).json()
    theirs = alice.post(PATH, {"subscriptions": ["*"]}, token=make_token(alice.caller.command, colleague)).json()

    hook = hook_of(alice.caller)
    assert mine != theirs
    assert hook is not None
    assert hook.subscriptions == BODY["subscriptions"]


def test_a_token_without_a_user_has_one_hook_too(alice: ApiClient) -> None:
    token = make_token(alice.caller.command)

    first = alice.post(PATH, BODY, token=token).json()
    second = alice.post(PATH, {"subscriptions": ["*"]}, token=token).json()
    of_user = alice.post(PATH, BODY).json()

    hook = Hook.objects.get(pk=first["hook_uuid"])
    assert first == second
    assert of_user != first
    assert (hook.user, hook.subscriptions) == (None, ["*"])


def test_a_public_command_subscribes_in_the_organization_of_its_user() -> None:
    owner = make_caller(is_public=True)
    guest = make_user(make_organization())
    make_installation(owner.command, guest.organization)

    response = ApiClient(owner).post(PATH, BODY, token=make_token(owner.command, guest))

    hook = Hook.objects.get(pk=response.json()["hook_uuid"])
    assert (hook.organization, hook.command, hook.user) == (guest.organization, owner.command, guest)


@pytest.mark.parametrize("path", [PATH, PATH.removesuffix("/")])
def test_delete_removes_the_hook_and_answers_without_a_body(alice: ApiClient, path: str) -> None:
    alice.post(PATH, BODY)

    response = alice.delete(path)

    assert (response.status_code, response.content) == (200, b"")
    assert hook_of(alice.caller) is None


def test_delete_is_no_error_where_there_was_nothing(alice: ApiClient) -> None:
    response = alice.delete(PATH)

    assert (response.status_code, response.content) == (200, b"")


def test_delete_cancels_what_has_not_been_sent_to_this_hook_and_nothing_else(alice: ApiClient) -> None:
    alice.post(PATH, BODY)
    alice.post(PATH, BODY, token=make_token(alice.caller.command))
    hook, other = hook_of(alice.caller), Hook.objects.get(user=None)
    assert hook is not None
    mine, others = pending_event(hook), pending_event(other)
    sent = make_delivery(
        hook.command,
        kind=Kind.EVENT,
        destination=hook.destination,
        state=State.DELIVERED,
        next_attempt_at=None,
        finished_at=clock.now(),
    )

    alice.delete(PATH)

    for delivery in (mine, others, sent):
        delivery.refresh_from_db()
    assert (mine.state, mine.reason) == (State.CANCELLED, Reason.HOOK_REMOVED)
    assert others.state == State.PENDING
    assert sent.state == State.DELIVERED
    assert Hook.objects.get() == other


@pytest.mark.django_db(transaction=True)
def test_of_two_first_requests_at_the_same_time_the_second_replaces_what_the_first_made(alice: ApiClient) -> None:
    token = read_token(alice.caller.token)
    assert token is not None
    numbers: list[int] = []

    def second() -> None:
        try:
            hook = services.register_hook(token=token, subscriptions=["second"], subscribed_objects=[])
            numbers.append(hook.pk)
        finally:
            connection.close()

    thread = threading.Thread(target=second)
    with transaction.atomic():
        first = services.register_hook(token=token, subscriptions=["first"], subscribed_objects=[])
        thread.start()
        wait_for_waiters()
    thread.join()

    hook = Hook.objects.get()
    assert numbers == [first.pk] == [hook.pk]
    assert hook.subscriptions == ["second"]


def test_a_hook_that_comes_back_has_a_new_number(alice: ApiClient) -> None:
    first = alice.post(PATH, BODY).json()
    alice.delete(PATH)

    assert alice.post(PATH, BODY).json() != first


@pytest.mark.parametrize(
    ("body", "details"),
    [
        ({}, "subscriptions: This field is required."),
        ({"subscriptions": None}, "subscriptions: This field may not be null."),
        ({"subscriptions": 1}, 'subscriptions: Expected a list of items but got type "int".'),
        ({"subscriptions": {"a": 1}}, 'subscriptions: Expected a list of items but got type "dict".'),
        ({"subscriptions": []}, "subscriptions: This list may not be empty."),
        ({"subscriptions": [1]}, "subscriptions.0: Not a valid string."),
        ({"subscriptions": [["a"]]}, "subscriptions.0: Not a valid string."),
        ({"subscriptions": ["a", ""]}, "subscriptions.1: This field may not be blank."),
        ({"subscriptions": ""}, "subscriptions.0: This field may not be blank."),
        (
            {"subscriptions": ["Forms.Created"]},
            "subscriptions: 'Forms.Created' is not the name of an event, like forms.response.created, forms.* or *.",
        ),
        (
            {"subscriptions": ["kudos.posted", "a.*.b"]},
            "subscriptions: 'a.*.b' is not the name of an event, like forms.response.created, forms.* or *.",
        ),
        (
            {"subscriptions": ["a" * 256]},
            "subscriptions.0: Ensure this field has no more than 255 characters.",
        ),
        ({"subscriptions": ["a"] * 101}, "subscriptions: There may be 100 of these at most."),
        (
            {"subscriptions": ["a"], "subscribed_objects": "form-1"},
            'subscribed_objects: Expected a list of items but got type "str".',
        ),
        ({"subscriptions": ["a"], "subscribed_objects": [7]}, "subscribed_objects.0: Not a valid string."),
        (
            {"subscriptions": ["a"], "subscribed_objects": ["x" * 256]},
            "subscribed_objects.0: Ensure this field has no more than 255 characters.",
        ),
        (
            {"subscriptions": ["a"], "subscribed_objects": ["x"] * 1001},
            "subscribed_objects: There may be 1000 of these at most.",
        ),
    ],
)
def test_what_is_not_valid_is_told_in_the_documented_shape(
    alice: ApiClient, body: dict[str, object], details: str
) -> None:
    response = alice.post(PATH, body)

    assert response.status_code == 400
    assert response.json() == {"details": details}
    assert hook_of(alice.caller) is None


def test_as_many_as_allowed_are_taken(alice: ApiClient) -> None:
    names = ["a" * (number + 1) for number in range(100)]
    objects = [f"form-{number}" for number in range(1000)]

    response = alice.post(PATH, {"subscriptions": names, "subscribed_objects": objects})

    hook = hook_of(alice.caller)
    assert response.status_code == 200
    assert hook is not None
    assert (hook.subscriptions, hook.subscribed_objects) == (names, objects)


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_a_request_without_a_token_is_told_so(alice: ApiClient, method: str) -> None:
    response = alice.request(method, PATH, BODY, token=None)

    assert response.status_code == 400
    assert response.json() == MISSING_TOKEN


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_a_missing_token_is_told_before_anything_that_is_wrong_with_the_body(alice: ApiClient, method: str) -> None:
    assert alice.request(method, PATH, {"subscriptions": 1}, token=None).json() == MISSING_TOKEN


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_a_request_without_a_key_is_refused(alice: ApiClient, method: str) -> None:
    response = alice.request(method, PATH, BODY, key=None)

    assert response.status_code == 401
    assert response.json() == {"detail": "Authentication credentials were not provided.", "code": "not_authenticated"}
    assert "WWW-Authenticate" in response


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_a_key_without_the_scope_is_refused(alice: ApiClient, method: str) -> None:
    client = ApiClient(alice.caller.with_scopes("EVENTS_PUBLISH", "SCHEDULING", "ACTIVITY"))

    response = client.request(method, PATH, BODY)

    assert response.status_code == 403
    assert response.json()["code"] == "insufficient_scope"


def test_a_key_with_nothing_but_the_scope_is_enough(alice: ApiClient) -> None:
    client = ApiClient(alice.caller.with_scopes("EVENT_SUBSCRIPTION"))

    assert client.post(PATH, BODY).status_code == 200
    assert client.delete(PATH).status_code == 200


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_a_strangers_key_makes_the_token_count_as_absent(alice: ApiClient, mallory: ApiClient, method: str) -> None:
    alice.post(PATH, BODY)

    response = mallory.request(method, PATH, {"subscriptions": ["*"]}, token=alice.caller.token)

    hook = hook_of(alice.caller)
    assert response.status_code == 400
    assert response.json() == MISSING_TOKEN
    assert hook is not None
    assert hook.subscriptions == BODY["subscriptions"]


def test_a_strangers_own_requests_leave_the_hook_alone(alice: ApiClient, mallory: ApiClient) -> None:
    alice.post(PATH, BODY)

    mallory.post(PATH, {"subscriptions": ["*"]})
    mallory.delete(PATH)

    hook = hook_of(alice.caller)
    assert hook is not None
    assert hook.subscriptions == BODY["subscriptions"]


def test_the_token_of_an_inactive_user_counts_as_absent(alice: ApiClient) -> None:
    User.objects.filter(pk=alice.caller.user.pk).update(is_active=False)

    assert alice.post(PATH, BODY).json() == MISSING_TOKEN


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH"])
def test_other_methods_are_not_allowed(alice: ApiClient, method: str) -> None:
    response = alice.request(method, PATH)

    assert response.status_code == 405
    assert response.json()["code"] == "method_not_allowed"


@pytest.mark.parametrize("name", HOSTILE_BODIES)
def test_a_hostile_body_is_answered_in_json(alice: ApiClient, name: str) -> None:
    response = alice.post(PATH, raw=HOSTILE_BODIES[name])

    assert response.status_code < 500
    if response.status_code != 200:
        answer = orjson.loads(response.content)
        assert set(answer) == {"details"} or set(answer) == {"detail", "code"}


@pytest.mark.parametrize("raw", [b"[", b"\xff", b"null", b'{"subscriptions": 1}'])
def test_a_body_that_comes_with_delete_is_not_looked_at(alice: ApiClient, raw: bytes) -> None:
    alice.post(PATH, BODY)

    response = alice.delete(PATH, raw=raw)

    assert (response.status_code, response.content) == (200, b"")
    assert hook_of(alice.caller) is None


@pytest.mark.parametrize("value", HOSTILE_HEADER_VALUES, ids=range(len(HOSTILE_HEADER_VALUES)))
def test_a_hostile_token_is_answered_in_json(alice: ApiClient, value: str) -> None:
    response = alice.post(PATH, BODY, token=None, headers={"X-EXCHANGE-TOKEN": value})

    assert response.status_code == 400
    assert orjson.loads(response.content)["code"] in ("missing_token", "bad_request")


@pytest.mark.parametrize("content_type", HOSTILE_CONTENT_TYPES)
def test_a_hostile_content_type_is_answered_in_json(alice: ApiClient, content_type: str) -> None:
    response = alice.post(PATH, BODY, headers={"Content-Type": content_type})

    assert response.status_code < 500
    assert isinstance(orjson.loads(response.content), dict)


def test_half_a_million_strings_are_counted_before_they_are_looked_at(alice: ApiClient) -> None:
    body = b'{"subscriptions": [' + b",".join([b'"a"'] * 250_000) + b"]}"

    response = alice.post(PATH, raw=body)

    assert response.json() == {"details": "subscriptions: There may be 100 of these at most."}


def test_a_subscription_costs_one_statement_besides_key_and_token(
    alice: ApiClient, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    alice.post(PATH, BODY)

    with django_assert_num_queries(2):
        alice.post(PATH, BODY)
