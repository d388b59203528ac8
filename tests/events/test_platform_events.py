"""The events that the platform itself publishes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import uuid4

import orjson
import pytest
from django.core.management import call_command
from django.db import OperationalError, connection
from django.forms import modelform_factory
from pytest_django import DjangoAssertNumQueries

from commands_platform.lib import clock
from commands_platform.lib.instants import format_instant
from deliveries.models import Delivery, Kind, Reason, State
from deliveries.outcomes import Outcome, record
from deliveries.sender import process_sender
from events.catalogue import find_event_type
from events.models import Hook, OutboxEvent
from organizations.models import User
from scheduling.dispatch import dispatch_due
from tests.api import ApiClient, Caller, make_caller
from tests.events.hooks import make_hook
from tests.factories import make_attempt, make_command, make_delivery, make_organization, make_schedule, make_user
from tests.outbox import fan_out
from tests.receiver import Answer, Receiver

pytestmark = pytest.mark.django_db


def events_of(hook: Hook) -> list[dict[str, Any]]:
    """Returns the bodies of the callbacks that the hook gets, oldest first."""
    fan_out()
    rows = Delivery.objects.filter(destination=hook.destination, kind=Kind.EVENT).order_by("id")
    events = [orjson.loads(row.body) for row in rows]
    for event in events:
        declared = find_event_type(event["event"])
        assert declared is not None, f"declare {event['event']} with event_type"
        # Only `failures` is optional.
        assert set(declared.sample) - {"failures"} <= set(event["body"]) <= set(declared.sample)
    return events


def claimed(caller: Caller, **values: Any) -> Delivery:
    """Makes a delivery that a sender has leased."""
    lease = {"lease": uuid4(), "leased_until": clock.now() + timedelta(minutes=1)}
    return make_delivery(caller.command, **lease, attempt_count=3, **values)


def failed(delivery: Delivery, *, status: int | None = 500) -> Outcome:
    assert delivery.lease is not None
    return Outcome(
        id=delivery.pk,
        lease=delivery.lease,
        state=State.FAILED,
        reason=Reason.RETRIES_EXHAUSTED,
        status=status,
        attempt=make_attempt(),
    )


@contextmanager
def failing_inserts(statement: str) -> Iterator[None]:
    """Makes PostgreSQL run the statement for every event that is published, for the length of the block."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {statement}; RETURN NEW; END $$"
        )
        cursor.execute("CREATE TRIGGER spoil BEFORE INSERT ON events_outboxevent FOR EACH ROW EXECUTE FUNCTION spoil()")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TRIGGER spoil ON events_outboxevent")
            cursor.execute("DROP FUNCTION spoil()")


def test_a_failed_delivery_publishes_an_event_about_its_schedule(alice: ApiClient) -> None:
    hook = make_hook(alice.caller, "platform.delivery.failed")
    delivery = claimed(alice.caller)

    record([failed(delivery)])

    delivery.refresh_from_db()
    (event,) = events_of(hook)
    assert delivery.finished_at is not None
    assert event == {
        "event": "platform.delivery.failed",
        "event_timestamp": delivery.finished_at.timestamp(),
        "hook": {"id": hook.pk, "name": alice.caller.command.name},
        "body": {
            "delivery_uuid": str(delivery.pk),
            "schedule_uuid": str(delivery.source_uuid),
            "due_at": format_instant(delivery.due_at),
            "attempts": 3,
            "status": 500,
            "reason": "retries_exhausted",
        },
        "event_uuid": event["event_uuid"],
        "user_uuid": str(alice.caller.user.uuid),
        "user_full_name": alice.caller.user.full_name,
        # Each attempt gets a token of its own.
        "exchange_token": None,
    }


def test_the_event_of_a_delivery_that_got_no_answer_has_no_status(alice: ApiClient) -> None:
    hook = make_hook(alice.caller)

    record([failed(claimed(alice.caller), status=None)])

    assert events_of(hook)[0]["body"]["status"] is None


def test_a_hook_on_one_schedule_receives_only_its_failures(alice: ApiClient) -> None:
    mine, other = claimed(alice.caller), claimed(alice.caller)
    hook = make_hook(alice.caller, subscribed_objects=[str(mine.source_uuid)])

    record([failed(mine), failed(other)])

    assert [event["body"]["delivery_uuid"] for event in events_of(hook)] == [str(mine.pk)]


@pytest.mark.parametrize(
    ("state", "reason"),
    [(State.DELIVERED, ""), (State.SKIPPED, Reason.USER_INACTIVE), (State.CANCELLED, Reason.SCHEDULE_PAUSED)],
)
def test_only_failures_are_published(alice: ApiClient, state: State, reason: str) -> None:
    hook = make_hook(alice.caller)
    delivery = claimed(alice.caller)
    assert delivery.lease is not None

    record([Outcome(id=delivery.pk, lease=delivery.lease, state=state, reason=reason)])

    assert events_of(hook) == []


def test_a_failure_stays_in_its_organization(alice: ApiClient, mallory: ApiClient) -> None:
    stranger = make_hook(mallory.caller)

    record([failed(claimed(alice.caller))])

    assert events_of(stranger) == []


def test_a_failed_delivery_of_an_event_publishes_no_further_event(receiver: Receiver) -> None:
    caller = make_caller(callback_url=receiver.url)
    hook = make_hook(caller, "platform.*")
    receiver.always_answer(lambda _: Answer(400))
    make_delivery(caller.command, url=receiver.url)

    process_sender().drain()
    fan_out()
    process_sender().drain()

    states = Delivery.objects.order_by("id").values_list("kind", "state")
    assert list(states) == [(Kind.SCHEDULED, State.FAILED), (Kind.EVENT, State.FAILED)]
    assert len(events_of(hook)) == 1


def test_without_a_hook_hundreds_of_failures_need_one_query(
    alice: ApiClient, mallory: ApiClient, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    make_hook(mallory.caller)
    make_hook(alice.caller, "kudos.*")
    outcomes = [failed(claimed(alice.caller)) for _ in range(100)]

    # Recording: a savepoint, an update, and the reset of its lock timeout. Publishing: a savepoint and the one query.
    with django_assert_num_queries(7):
        record(outcomes)

    assert not OutboxEvent.objects.exists()


def test_with_a_hook_hundreds_of_failures_need_no_more_queries_than_one(
    alice: ApiClient, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    hook = make_hook(alice.caller)
    outcomes = [failed(claimed(alice.caller)) for _ in range(100)]

    with django_assert_num_queries(8):
        record(outcomes)

    assert len(events_of(hook)) == 100


def test_failures_are_recorded_even_if_they_cannot_be_published(
    alice: ApiClient, caplog: pytest.LogCaptureFixture
) -> None:
    make_hook(alice.caller)
    delivery = claimed(alice.caller)

    with failing_inserts("RAISE EXCEPTION 'no'"):
        assert record([failed(delivery)]).written == 1

    delivery.refresh_from_db()
    assert delivery.state == State.FAILED
    assert not OutboxEvent.objects.exists()
    assert "failed_deliveries_not_announced" in caplog.text


@pytest.mark.django_db(transaction=True)
def test_a_connection_lost_while_publishing_raises_instead_of_pretending_to_record(alice: ApiClient) -> None:
    make_hook(alice.caller)
    delivery = claimed(alice.caller)

    with failing_inserts("PERFORM pg_terminate_backend(pg_backend_pid())"):
        with pytest.raises(OperationalError):
            record([failed(delivery)])
        connection.close()

    delivery.refresh_from_db()
    assert delivery.state == State.PENDING


def test_creating_an_active_user_publishes_an_event(alice: ApiClient) -> None:
    hook = make_hook(alice.caller, "organization.user_activated")

    user = make_user(alice.caller.organization, full_name="Grace Hopper")

    (event,) = events_of(hook)
    assert event["event"] == "organization.user_activated"
    assert event["body"] == {"user_uuid": str(user.uuid), "full_name": "Grace Hopper"}


def test_creating_an_inactive_user_publishes_no_event(alice: ApiClient) -> None:
    hook = make_hook(alice.caller)

    make_user(alice.caller.organization, is_active=False)

    assert events_of(hook) == []


@pytest.mark.parametrize("update_fields", [None, ["is_active"], ["full_name", "is_active"]])
def test_deactivating_and_reactivating_a_user_publishes_two_events(
    alice: ApiClient, update_fields: list[str] | None
) -> None:
    user = make_user(alice.caller.organization)
    hook = make_hook(alice.caller, subscribed_objects=[str(user.uuid)])

    user.is_active = False
    user.save(update_fields=update_fields)
    user.is_active = True
    user.save(update_fields=update_fields)

    assert [event["event"] for event in events_of(hook)] == [
        "organization.user_deactivated",
        "organization.user_activated",
    ]
    assert events_of(hook)[0]["body"] == {"user_uuid": str(user.uuid), "full_name": user.full_name}


def test_renaming_a_user_publishes_no_event(alice: ApiClient) -> None:
    user = make_user(alice.caller.organization)
    hook = make_hook(alice.caller)

    user.full_name = "Grace Hopper"
    user.save()
    user.is_active = False
    user.save(update_fields=["full_name"])

    assert events_of(hook) == []


def test_a_stale_copy_of_a_user_is_compared_with_what_the_database_holds(alice: ApiClient) -> None:
    user = make_user(alice.caller.organization)
    stale = User.objects.get(pk=user.pk)
    hook = make_hook(alice.caller)
    user.is_active = False
    user.save()

    stale.is_active = False
    stale.save()

    assert len(events_of(hook)) == 1


def test_users_of_other_organizations_are_not_announced(alice: ApiClient) -> None:
    hook = make_hook(alice.caller)

    make_user(make_organization())

    assert events_of(hook) == []


def test_the_hook_of_the_user_who_is_deactivated_is_recorded_as_skipped(alice: ApiClient) -> None:
    make_hook(alice.caller)
    user = alice.caller.user

    user.is_active = False
    user.save()
    fan_out()

    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.reason) == (State.SKIPPED, Reason.USER_INACTIVE)


def test_loading_a_fixture_publishes_no_event(alice: ApiClient, tmp_path: Any) -> None:
    user = make_user(alice.caller.organization)
    dump = tmp_path / "users.json"
    call_command("dumpdata", "organizations.user", pks=str(user.pk), output=str(dump))
    User.objects.filter(pk=user.pk).update(is_active=False)
    hook = make_hook(alice.caller)

    call_command("loaddata", str(dump), verbosity=0)

    user.refresh_from_db()
    assert user.is_active
    assert events_of(hook) == []


def test_deactivating_a_user_in_a_form_publishes_the_event(alice: ApiClient) -> None:
    user = make_user(alice.caller.organization)
    hook = make_hook(alice.caller, "organization.*")
    form = modelform_factory(User, fields=["full_name", "is_active"])({"full_name": "Ada"}, instance=user)

    form.save()

    (event,) = events_of(hook)
    assert event["event"] == "organization.user_deactivated"
    assert event["body"]["full_name"] == "Ada"


def test_the_last_run_of_a_schedule_publishes_an_event(alice: ApiClient) -> None:
    schedule = make_schedule(alice.caller.command, execution_frequency=0, next_run_at=clock.now())
    hook = make_hook(alice.caller, "platform.schedule.*", subscribed_objects=[str(schedule.uuid)])
    make_hook(alice.caller, "kudos.*", command=make_command(alice.caller.organization))

    dispatch_due()

    (event,) = events_of(hook)
    assert event["event"] == "platform.schedule.completed"
    assert event["body"] == {"schedule_uuid": str(schedule.uuid), "name": schedule.name, "reason": "completed"}
    assert Delivery.objects.filter(kind=Kind.EVENT).count() == 1
