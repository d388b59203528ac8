"""After a 410, a receiver gets no more callbacks: its schedule is deactivated or its hook is removed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
import pytest
from django.db import connection

from commands_platform.housekeeping import CHORES
from commands_platform.lib import clock
from deliveries.models import Delivery, Kind, Reason, State
from events.gone import remove_gone_hooks
from events.models import Hook
from organizations.models import Organization
from scheduling import gone, services
from scheduling.gone import deactivate_gone, follow_gone
from scheduling.models import DeactivationReason, ScheduledExecution
from tests.deliveries.senders import make_sender
from tests.factories import make_command, make_delivery, make_schedule
from tests.outbox import fan_out
from tests.receiver import Answer, Receiver

pytestmark = pytest.mark.django_db(transaction=True)

GONE_URL = "http://127.0.0.1:9/gone"


@pytest.fixture
def since() -> datetime:
    return clock.now() - timedelta(minutes=1)


@pytest.fixture(autouse=True)
def _the_walk_begins() -> None:
    gone._lookback.cache_clear()


def make_gone(schedule: ScheduledExecution, **values: Any) -> Delivery:
    """Makes a run of the schedule that was answered with 410."""
    return make_delivery(
        schedule.command,
        **{
            "source_uuid": schedule.uuid,
            "url": schedule.callback_url or schedule.command.callback_url,
            "state": State.FAILED,
            "reason": Reason.GONE,
            "last_status": 410,
            "next_attempt_at": None,
            "finished_at": clock.now(),
            **values,
        },
    )


def make_hook(organization: Organization | None = None, **values: Any) -> Hook:
    command = make_command(organization, callback_url=GONE_URL)
    return Hook.objects.create(
        **{"organization": command.organization, "command": command, "subscriptions": ["kudos.*"], **values}
    )


def make_gone_of_hook(hook: Hook, **values: Any) -> Delivery:
    now = clock.now()
    return make_delivery(
        hook.command,
        **{
            "kind": Kind.EVENT,
            "destination": hook.destination,
            "url": hook.command.callback_url,
            "state": State.FAILED,
            "reason": Reason.GONE,
            "next_attempt_at": None,
            "finished_at": now,
            **values,
        },
    )


@contextmanager
def locked_elsewhere(table: str, pk: int | UUID) -> Iterator[None]:
    other = connection.copy()
    try:
        other.set_autocommit(False)
        with other.cursor() as cursor:
            cursor.execute(f"SELECT FROM {table} WHERE id = %s FOR UPDATE", [pk])
        yield
        other.rollback()
    finally:
        other.close()


def events_of(schedule_or_hook: ScheduledExecution | Hook) -> list[dict[str, Any]]:
    fan_out()
    rows = Delivery.objects.filter(kind=Kind.EVENT, organization=schedule_or_hook.organization, state=State.PENDING)
    return [orjson.loads(row.body) for row in rows]


def test_a_410_deactivates_its_schedule_and_publishes_an_event(receiver: Receiver, since: datetime) -> None:
    receiver.always_answer(lambda _: Answer(410))
    schedule = make_schedule(make_command(callback_url=receiver.url))
    Hook.objects.create(organization=schedule.organization, command=make_command(schedule.organization,
        callback_url="http://127.0.0.1:9/events"), subscriptions=["platform.schedule.*"])  # fmt: skip
    tried = make_delivery(schedule.command, source_uuid=schedule.uuid, url=receiver.url)
    later = make_delivery(schedule.command, source_uuid=schedule.uuid, next_attempt_at=clock.now() + timedelta(hours=1))
    make_sender().drain()

    follow_gone()

    for row in (schedule, tried, later):
        row.refresh_from_db()
    assert (tried.state, tried.reason, tried.attempt_count) == (State.FAILED, Reason.GONE, 1)
    assert (schedule.is_active, schedule.deactivation_reason) == (False, DeactivationReason.GONE)
    assert (later.state, later.reason) == (State.CANCELLED, Reason.SCHEDULE_DEACTIVATED)
    (event,) = events_of(schedule)
    assert event["event"] == "platform.schedule.deactivated"
    assert event["body"] == {"schedule_uuid": str(schedule.uuid), "name": schedule.name, "reason": "gone"}


def test_a_410_removes_its_hook_and_publishes_an_event(since: datetime) -> None:
    hook = make_hook()
    other = make_hook(hook.organization, subscriptions=["platform.hook.*"])
    make_gone_of_hook(hook)
    waiting = make_delivery(hook.command, kind=Kind.EVENT, destination=hook.destination, url=GONE_URL)

    assert remove_gone_hooks(since=since) == 1

    waiting.refresh_from_db()
    assert (waiting.state, waiting.reason) == (State.CANCELLED, Reason.HOOK_REMOVED)
    assert list(Hook.objects.all()) == [other]
    (event,) = events_of(other)
    assert (event["event"], event["hook"]["id"]) == ("platform.hook.removed", other.pk)
    assert event["body"] == {
        "hook_id": hook.pk,
        "command_uuid": str(hook.command.uuid),
        "user_uuid": None,
        "subscriptions": ["kudos.*"],
        "reason": "gone",
    }
    assert remove_gone_hooks(since=since) == 0


@pytest.mark.parametrize("values", [{}, {"execution_frequency": 0}], ids=["recurring", "with one run to come"])
def test_a_schedule_that_was_changed_or_resumed_since_is_left_alone(since: datetime, values: dict[str, Any]) -> None:
    schedule = make_schedule(make_command(callback_url=GONE_URL), **values)
    make_gone(schedule, finished_at=clock.now())
    deactivate_gone(since=since)
    services.update_scheduled_execution(schedule=ScheduledExecution.objects.get(), changes={"is_active": True})

    assert deactivate_gone(since=since) == 0
    schedule.refresh_from_db()
    assert schedule.is_active


@pytest.mark.parametrize(
    "values",
    [
        {"url": "http://127.0.0.1:9/old"},
        {"reason": Reason.REJECTED},
        {"finished_at": datetime(2026, 1, 1, tzinfo=UTC)},
        {"kind": Kind.EVENT},
    ],
    ids=["its URL is another one now", "another answer", "long ago", "an event"],
)
def test_no_other_row_deactivates_a_schedule(since: datetime, values: dict[str, Any]) -> None:
    schedule = make_schedule(make_command(callback_url=GONE_URL), effective_from=clock.now() - timedelta(days=3))
    make_gone(schedule, **values)

    assert deactivate_gone(since=since) == 0


@pytest.mark.parametrize(
    "values", [{"destination": "hook:nonsense"}, {"destination": "hook:0"}, {"url": "http://127.0.0.1:9/old"}]
)
def test_no_other_row_removes_a_hook(since: datetime, values: dict[str, Any]) -> None:
    make_gone_of_hook(make_hook(), **values)

    assert remove_gone_hooks(since=since) == 0


def test_a_hook_that_was_subscribed_again_since_is_left_alone(since: datetime) -> None:
    hook = make_hook()
    make_gone_of_hook(hook)
    Hook.objects.filter(pk=hook.pk).update(updated_at=clock.now())

    assert remove_gone_hooks(since=since) == 0


def test_a_locked_row_is_left_for_the_next_look(since: datetime) -> None:
    schedule, hook = make_schedule(make_command(callback_url=GONE_URL)), make_hook()
    make_gone(schedule)
    make_gone_of_hook(hook)
    row = make_delivery(schedule.command, source_uuid=schedule.uuid)
    callback = make_delivery(hook.command, kind=Kind.EVENT, destination=hook.destination)

    with locked_elsewhere("scheduling_scheduledexecution", schedule.pk):
        assert deactivate_gone(since=since) == 0
    with locked_elsewhere("deliveries_delivery", row.pk):
        assert deactivate_gone(since=since) == 0
    with locked_elsewhere("events_hook", hook.pk):
        assert remove_gone_hooks(since=since) == 0
    with locked_elsewhere("deliveries_delivery", callback.pk):
        assert remove_gone_hooks(since=since) == 0

    assert deactivate_gone(since=since) == 1
    assert remove_gone_hooks(since=since) == 1


def test_the_first_look_goes_back_a_day_and_the_next_one_does_not() -> None:
    schedule = make_schedule(make_command(callback_url=GONE_URL), effective_from=clock.now() - timedelta(days=3))
    hour_ago = clock.now() - timedelta(hours=1)

    follow_gone()
    make_gone(schedule, finished_at=hour_ago)
    follow_gone()
    schedule.refresh_from_db()
    assert schedule.is_active
    gone._lookback.cache_clear()
    follow_gone()

    schedule.refresh_from_db()
    assert not schedule.is_active


def test_housekeeping_does_it() -> None:
    assert follow_gone in {chore.work for chore in CHORES}
