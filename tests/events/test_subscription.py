"""`/v1/platform/event-subscription/`: hooks are made, replaced and removed."""

from __future__ import annotations

import threading

import pytest
from django.db import connection, transaction
from pytest_django import DjangoAssertNumQueries

from commands_platform.lib import clock
from deliveries.models import Delivery, Kind, Reason, State
from events import services
from events.models import Hook
from tests.api import ApiClient, make_caller
from tests.events.subscriptions import BODY, PATH, hook_of
from tests.factories import make_delivery, make_installation, make_organization, make_token, make_user, read_token
from tests.locks import wait_for_waiters

pytestmark = pytest.mark.django_db


def pending_event(hook: Hook) -> Delivery:
    return make_delivery(hook.command, kind=Kind.EVENT, destination=hook.destination, organization=hook.organization)


@pytest.mark.parametrize("path", [PATH, PATH.removesuffix("/")])
def test_subscribing_returns_the_number_of_the_hook(alice: ApiClient, path: str) -> None:
    response = alice.post(path, BODY)

    hook = hook_of(alice.caller)
    assert hook is not None
    assert response.status_code == 200
    assert response["Content-Type"] == "application/json"
    assert response.content == b'{"hook_uuid":%d}' % hook.pk
    assert hook.organization == alice.caller.organization
    assert hook.subscriptions == ["forms.response.created", "kudos.*"]
    assert hook.subscribed_objects == ["form-1"]


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


def test_events_published_for_the_old_lists_are_still_sent(alice: ApiClient) -> None:
    alice.post(PATH, BODY)
    hook = hook_of(alice.caller)
    assert hook is not None
    delivery = pending_event(hook)

    alice.post(PATH, {"subscriptions": ["other"]})

    delivery.refresh_from_db()
    assert delivery.state == State.PENDING


def test_each_user_of_a_command_has_a_separate_hook(alice: ApiClient) -> None:
    colleague = make_user(alice.caller.organization)

    mine = alice.post(PATH, BODY).json()
    theirs = alice.post(PATH, {"subscriptions": ["*"]}, token=make_token(alice.caller.command, colleague)).json()

    hook = hook_of(alice.caller)
    assert mine != theirs
    assert hook is not None
    assert hook.subscriptions == BODY["subscriptions"]


def test_a_token_without_a_user_has_one_hook_as_well(alice: ApiClient) -> None:
    token = make_token(alice.caller.command)

    first = alice.post(PATH, BODY, token=token).json()
    second = alice.post(PATH, {"subscriptions": ["*"]}, token=token).json()
    of_user = alice.post(PATH, BODY).json()

    hook = Hook.objects.get(pk=first["hook_uuid"])
    assert first == second
    assert of_user != first
    assert (hook.user, hook.subscriptions) == (None, ["*"])


def test_a_public_command_subscribes_in_its_users_organization() -> None:
    owner = make_caller(is_public=True)
    guest = make_user(make_organization())
    make_installation(owner.command, guest.organization)

    response = ApiClient(owner).post(PATH, BODY, token=make_token(owner.command, guest))

    hook = Hook.objects.get(pk=response.json()["hook_uuid"])
    assert (hook.organization, hook.command, hook.user) == (guest.organization, owner.command, guest)


@pytest.mark.parametrize("path", [PATH, PATH.removesuffix("/")])
def test_delete_removes_the_hook_and_returns_no_body(alice: ApiClient, path: str) -> None:
    alice.post(PATH, BODY)

    response = alice.delete(path)

    assert (response.status_code, response.content) == (200, b"")
    assert hook_of(alice.caller) is None


def test_deleting_a_missing_hook_is_no_error(alice: ApiClient) -> None:
    response = alice.delete(PATH)

    assert (response.status_code, response.content) == (200, b"")


def test_delete_cancels_the_unsent_events_of_this_hook_and_nothing_else(alice: ApiClient) -> None:
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
def test_the_second_of_two_concurrent_first_requests_replaces_the_lists(alice: ApiClient) -> None:
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


def test_a_hook_that_is_created_again_has_a_new_number(alice: ApiClient) -> None:
    first = alice.post(PATH, BODY).json()
    alice.delete(PATH)

    assert alice.post(PATH, BODY).json() != first


def test_replacing_the_lists_of_a_hook_needs_few_queries(
    alice: ApiClient, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    alice.post(PATH, BODY)

    # The key and token, a savepoint, the present lists, and the new ones. Nothing differs, so no change is recorded.
    with django_assert_num_queries(5):
        alice.post(PATH, BODY)
