"""Publishing is one statement that waits for nobody. A thread of the dispatcher does the rest."""

from __future__ import annotations

import pytest
from django.db import transaction
from pytest_django import DjangoAssertNumQueries, DjangoCaptureOnCommitCallbacks

from commands_platform.lib.metronome import stop_all
from deliveries.models import Delivery
from events import outbox, tasks
from events.models import OutboxEvent
from events.publishing import publish
from harness.platform import wait_until
from organizations.models import Organization
from tests.api import ApiClient
from tests.events.hooks import PATH, URL, event_in, make_hook
from tests.factories import make_command
from tests.locks import held_elsewhere, without_waiting
from tests.outbox import fan_out, published

pytestmark = pytest.mark.django_db


def test_many_hooks_and_events_are_published_by_one_statement(
    alice: ApiClient, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for _ in range(20):
        make_hook(alice.caller, command=make_command(alice.caller.organization, callback_url=URL))

    with django_assert_num_queries(1):
        assert publish([event_in(alice.caller.organization) for _ in range(10)]) == 10

    assert not Delivery.objects.exists()
    assert fan_out() == 200
    assert not OutboxEvent.objects.exists()


def test_without_hooks_publishing_needs_one_query_and_stores_nothing(
    alice: ApiClient, mallory: ApiClient, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    make_hook(mallory.caller)
    make_hook(alice.caller, "forms.*")

    with django_assert_num_queries(1):
        assert publish([event_in(alice.caller.organization) for _ in range(100)]) == 0

    assert not OutboxEvent.objects.exists()


def test_publishing_nothing_needs_no_query(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    with django_assert_num_queries(0):
        assert publish([]) == 0


def test_an_event_that_no_hook_wants_leaves_nothing_in_the_outbox(alice: ApiClient) -> None:
    make_hook(alice.caller, "forms.*", subscribed_objects=["form-2"])

    answer = alice.post(PATH, {"event": "forms.created", "object": "form-1"}).json()

    assert answer["deliveries"] == 0
    assert not OutboxEvent.objects.exists()


def test_an_event_that_is_published_twice_is_delivered_once(alice: ApiClient) -> None:
    make_hook(alice.caller)
    event = event_in(alice.caller.organization)

    assert published([event, event]) == 1
    assert published([event]) == 0


def test_events_of_several_organizations_go_to_their_own_hooks(alice: ApiClient, mallory: ApiClient) -> None:
    mine = make_hook(alice.caller, "kudos.*")
    theirs = make_hook(mallory.caller, "forms.*")
    events = [
        event_in(caller.organization, name)
        for caller in (alice.caller, mallory.caller)
        for name in ("kudos.posted", "forms.created", "other")
    ]

    assert published(events) == 2

    found = Delivery.objects.values_list("destination", "organization")
    assert set(found) == {
        (mine.destination, alice.caller.organization.pk),
        (theirs.destination, mallory.caller.organization.pk),
    }


@pytest.mark.django_db(transaction=True)
def test_an_event_of_a_transaction_that_is_rolled_back_has_not_happened(alice: ApiClient) -> None:
    make_hook(alice.caller)

    with transaction.atomic():
        assert publish([event_in(alice.caller.organization)]) == 1
        transaction.set_rollback(True)

    assert fan_out() == 0


@pytest.mark.django_db(transaction=True)
def test_publishing_waits_for_no_lock_on_the_organization_or_its_hooks(alice: ApiClient) -> None:
    hook = make_hook(alice.caller)
    organizations = Organization.objects.filter(pk=alice.caller.organization.pk)

    with held_elsewhere(organizations), held_elsewhere(type(hook).objects.all()), without_waiting():
        assert published([event_in(alice.caller.organization)]) == 1


def test_dispatchers_get_one_hint_after_the_commit_and_none_if_nothing_was_stored(
    alice: ApiClient, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    make_hook(alice.caller, "kudos.*")

    with django_capture_on_commit_callbacks() as callbacks:
        publish([event_in(alice.caller.organization, "other")])
    assert callbacks == []

    with django_capture_on_commit_callbacks(execute=True) as callbacks:
        publish([event_in(alice.caller.organization) for _ in range(2)])
    assert len(callbacks) == 1


def test_senders_get_one_hint_after_the_commit_of_a_portion(
    alice: ApiClient, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    make_hook(alice.caller)
    publish([event_in(alice.caller.organization) for _ in range(2)])

    with django_capture_on_commit_callbacks(execute=True) as callbacks:
        fan_out()

    assert len(callbacks) == 1


def test_a_hint_wakes_the_thread() -> None:
    outbox.bell.clear()

    tasks.fan_out()

    assert outbox.bell.is_set()
    outbox.bell.clear()


@pytest.mark.django_db(transaction=True)
def test_the_thread_fans_out_events_without_a_hint(alice: ApiClient) -> None:
    make_hook(alice.caller)
    publish([event_in(alice.caller.organization)])
    thread = outbox.fan_out_thread()

    thread.start()
    try:
        wait_until(Delivery.objects.exists)
    finally:
        stop_all([thread], patience=10)
    assert not thread.is_alive()


def test_the_thread_goes_on_at_once_if_more_is_waiting(alice: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    make_hook(alice.caller)
    monkeypatch.setattr(outbox, "_MAX_SECONDS_AT_ONCE", 0.0)
    outbox.bell.clear()
    publish([event_in(alice.caller.organization)])

    outbox.fan_out()

    assert outbox.bell.is_set()
    outbox.bell.clear()
    outbox.fan_out()
    assert not outbox.bell.is_set()
