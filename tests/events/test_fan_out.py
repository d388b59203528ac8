"""Events are fanned out to their hooks in portions. Organizations take turns, and each hook gets each event once."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.db import OperationalError, connection, transaction

from commands_platform.lib import clock
from deliveries.models import Delivery, Kind, Reason, State
from events import outbox, services
from events.gone import remove_gone_hooks
from events.listeners import count_listeners
from events.models import Hook, OutboxEvent
from events.outbox import FanOut, process_fan_out
from events.publishing import publish
from tests.api import ApiClient, Caller
from tests.events.hooks import URL, event_in, make_hook
from tests.factories import make_command, make_delivery, make_user
from tests.locks import held_elsewhere, wait_for_waiters, without_waiting
from tests.outbox import fan_out, published

pytestmark = pytest.mark.django_db
SUBSCRIBE = "/v1/platform/event-subscription/"


@pytest.fixture
def two_rows_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "_MAX_ROWS", 2)


def make_hooks(caller: Caller, count: int) -> list[Hook]:
    # Not `*`, because making a user is an event too.
    return [make_hook(caller, "kudos.*", user=make_user(caller.organization)) for _ in range(count)]


def destinations() -> list[str]:
    return list(Delivery.objects.order_by("id").values_list("destination", flat=True))


def names(hooks: list[Hook]) -> list[str]:
    return [hook.destination for hook in hooks]


@contextmanager
def spoiled(hook: Hook, statement: str) -> Iterator[None]:
    """Makes PostgreSQL run the statement when a delivery for the hook is written, for the length of the block."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {statement}; RETURN NEW; END $$"
        )
        cursor.execute(
            "CREATE TRIGGER spoil BEFORE INSERT ON deliveries_delivery FOR EACH ROW"
            f" WHEN (NEW.destination = '{hook.destination}') EXECUTE FUNCTION spoil()"
        )
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP FUNCTION spoil() CASCADE")


def test_a_hook_that_subscribes_after_the_event_does_not_get_it(alice: ApiClient) -> None:
    (earlier,) = make_hooks(alice.caller, 1)
    publish([event_in(alice.caller.organization)])
    make_hooks(alice.caller, 1)

    assert fan_out() == 1

    assert destinations() == [earlier.destination]


def test_a_hook_that_is_removed_before_its_portion_gets_nothing(alice: ApiClient) -> None:
    alice.post(SUBSCRIBE, {"subscriptions": ["*"]})
    publish([event_in(alice.caller.organization)])

    alice.delete(SUBSCRIBE)

    assert fan_out() == 0
    assert not OutboxEvent.objects.exists()


def test_a_hook_that_is_removed_and_made_again_does_not_get_the_earlier_event(alice: ApiClient) -> None:
    alice.post(SUBSCRIBE, {"subscriptions": ["*"]})
    publish([event_in(alice.caller.organization)])

    alice.delete(SUBSCRIBE)
    alice.post(SUBSCRIBE, {"subscriptions": ["*"]})

    assert fan_out() == 0


def test_a_hook_whose_lists_are_replaced_before_its_portion_is_judged_by_the_new_ones(alice: ApiClient) -> None:
    alice.post(SUBSCRIBE, {"subscriptions": ["*"]})
    publish([event_in(alice.caller.organization, "kudos.posted")])

    alice.post(SUBSCRIBE, {"subscriptions": ["forms.*"]})

    assert fan_out() == 0


@contextmanager
def portion_in_hand() -> Iterator[None]:
    """Writes a portion in another thread, which commits it at the end of the block."""
    is_written, may_commit = threading.Event(), threading.Event()

    def work() -> None:
        try:
            with transaction.atomic():
                process_fan_out().write_portion()
                is_written.set()
                may_commit.wait(20)
        finally:
            connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert is_written.wait(10)
        yield
    finally:
        may_commit.set()
        thread.join()


@pytest.mark.django_db(transaction=True)
def test_a_hook_that_is_removed_during_its_portion_gets_nothing(alice: ApiClient) -> None:
    alice.post(SUBSCRIBE, {"subscriptions": ["*"]})
    publish([event_in(alice.caller.organization)])
    hook = Hook.objects.get()

    def remove() -> None:
        try:
            services.remove_hook(hook=hook)
        finally:
            connection.close()

    remover = threading.Thread(target=remove)
    with portion_in_hand():
        remover.start()
        wait_for_waiters()
    remover.join()

    assert not Hook.objects.exists()
    assert Delivery.objects.get().state == State.CANCELLED


@pytest.mark.django_db(transaction=True)
def test_a_hook_of_a_gone_receiver_is_removed_after_its_portion(alice: ApiClient) -> None:
    hook = make_hook(alice.caller)
    make_delivery(hook.command, kind=Kind.EVENT, destination=hook.destination, url=hook.command.callback_url,
        state=State.FAILED, reason=Reason.GONE, next_attempt_at=None, finished_at=clock.now())  # fmt: skip
    publish([event_in(alice.caller.organization)])
    since = clock.now() - timedelta(minutes=1)

    with portion_in_hand(), without_waiting():
        assert remove_gone_hooks(since=since) == 0

    assert remove_gone_hooks(since=since) == 1
    assert not Delivery.objects.pending().exists()


@pytest.mark.usefixtures("two_rows_at_once")
def test_the_hooks_of_an_event_are_written_in_portions(alice: ApiClient) -> None:
    hooks = make_hooks(alice.caller, 5)
    event = event_in(alice.caller.organization)
    publish([event])

    process_fan_out().write_portion()
    assert destinations() == names(hooks[:2])
    assert OutboxEvent.objects.get().after_hook_id == hooks[1].pk

    # Another process continues where the first one was.
    assert fan_out() == 3
    assert destinations() == names(hooks)
    assert not OutboxEvent.objects.exists()


@pytest.mark.usefixtures("two_rows_at_once")
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_an_event_leaves_the_outbox_however_many_hooks_the_last_portion_has(alice: ApiClient, count: int) -> None:
    make_hooks(alice.caller, count)

    assert published([event_in(alice.caller.organization)]) == count

    assert not OutboxEvent.objects.exists()


def test_large_bodies_make_a_portion_small(alice: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "_MAX_BYTES", 100_000)
    make_hooks(alice.caller, 5)
    publish([event_in(alice.caller.organization, body={"text": "x" * 63_000})])

    process_fan_out().write_portion()

    assert len(destinations()) == 2
    assert fan_out() == 3


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("two_rows_at_once")
def test_after_a_crash_in_a_portion_every_hook_still_gets_the_event_once(alice: ApiClient) -> None:
    hooks = make_hooks(alice.caller, 5)
    publish([event_in(alice.caller.organization)])

    with spoiled(hooks[3], "PERFORM pg_terminate_backend(pg_backend_pid())"):
        process_fan_out().write_portion()
        with pytest.raises(OperationalError):
            process_fan_out().write_portion()
        connection.close()
        assert destinations() == names(hooks[:2])

    fan_out()
    assert sorted(destinations()) == sorted(names(hooks))


@pytest.mark.usefixtures("two_rows_at_once")
def test_organizations_take_turns(alice: ApiClient, mallory: ApiClient) -> None:
    make_hooks(alice.caller, 6)
    publish([event_in(alice.caller.organization) for _ in range(3)])
    other = make_hook(mallory.caller)
    publish([event_in(mallory.caller.organization)])

    for _ in range(2):
        process_fan_out().write_portion()

    assert Counter(destinations())[other.destination] == 1
    assert len(destinations()) == 3


@pytest.mark.usefixtures("two_rows_at_once")
def test_the_oldest_event_of_an_organization_comes_first(alice: ApiClient) -> None:
    make_hooks(alice.caller, 3)
    events = [event_in(alice.caller.organization) for _ in range(3)]
    for event in events:
        publish([event])

    fan_out()

    sources = Delivery.objects.order_by("id").values_list("source_uuid", flat=True)
    assert list(sources) == [event.uuid for event in events for _ in range(3)]


def test_small_events_of_several_organizations_share_a_portion(
    alice: ApiClient, mallory: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "_MAX_SECONDS", 60.0)
    for caller in (alice.caller, mallory.caller):
        make_hook(caller)
        publish([event_in(caller.organization) for _ in range(10)])

    process_fan_out().write_portion()

    assert len(destinations()) == 20


@pytest.mark.django_db(transaction=True)
def test_an_event_that_another_process_has_in_hand_does_not_stop_the_others(
    alice: ApiClient, mallory: ApiClient
) -> None:
    hooks = [make_hook(caller) for caller in (alice.caller, mallory.caller)]
    events = [event_in(caller.organization) for caller in (alice.caller, mallory.caller)]
    publish(events)

    with held_elsewhere(OutboxEvent.objects.filter(uuid=events[0].uuid)):
        assert fan_out() == 1
        assert destinations() == [hooks[1].destination]

    assert fan_out() == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("two_rows_at_once")
def test_several_processes_at_once_write_each_delivery_once(alice: ApiClient) -> None:
    hooks = make_hooks(alice.caller, 7)
    publish([event_in(alice.caller.organization) for _ in range(8)])
    barrier = threading.Barrier(3)

    def work() -> None:
        try:
            barrier.wait()
            process = FanOut()
            while process.write_portion():
                pass
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert Counter(destinations()) == dict.fromkeys(names(hooks), 8)
    assert not OutboxEvent.objects.exists()


def test_an_event_that_cannot_be_written_is_postponed_and_does_not_stop_the_others(
    alice: ApiClient, caplog: pytest.LogCaptureFixture
) -> None:
    spoiling, healthy = make_hook(alice.caller, "forms.*"), make_hook(alice.caller, "kudos.*", user=None)
    publish([event_in(alice.caller.organization, name) for name in ("forms.created", "kudos.posted")])

    with spoiled(spoiling, "RAISE EXCEPTION 'secret'"):
        assert fan_out() == 1
        assert destinations() == [healthy.destination]
        assert "event_not_fanned_out" in caplog.text
        assert "secret" not in caplog.text

    assert fan_out() == 0
    later = clock.now() + timedelta(minutes=2)
    with clock.replaced_by(lambda: later):
        assert fan_out() == 1
    assert set(destinations()) == {spoiling.destination, healthy.destination}


@pytest.mark.parametrize("object_id", ["", "form-1", "form-2", "FORM-1"])
@pytest.mark.parametrize("subscribed_objects", [[], ["form-1"], ["form-1", "form-2"]])
def test_the_number_of_listeners_is_the_number_of_deliveries(
    alice: ApiClient, subscribed_objects: list[str], object_id: str
) -> None:
    """Objects are compared if both hook and event name some."""
    make_hook(alice.caller, "forms.*", subscribed_objects=subscribed_objects)
    make_hook(alice.caller, "kudos.*", command=make_command(alice.caller.organization, callback_url=URL))
    expected = 1 if not subscribed_objects or not object_id or object_id in subscribed_objects else 0
    event = event_in(alice.caller.organization, "forms.created", object_id=object_id or None)

    count = count_listeners(organization_id=alice.caller.organization.pk, name=event.name, object_id=object_id)

    assert count == expected
    assert published([event]) == expected
    assert not OutboxEvent.objects.exists()
