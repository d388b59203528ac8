"""A schedule whose callbacks fail for too long is deactivated, and runs again when it is resumed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import orjson
import pytest
from django.db import connection, transaction

from commands_platform.lib import clock
from deliveries import queue
from deliveries.models import Delivery, Kind, Reason, State
from deliveries.outcomes import Outcome, record
from events.models import Hook
from scheduling import failures, services
from scheduling.failures import deactivate_failing
from scheduling.models import DeactivationReason, ScheduledExecution
from tests.factories import make_attempt, make_command, make_delivery, make_schedule
from tests.outbox import fan_out

pytestmark = pytest.mark.django_db

URL = "http://127.0.0.1:9/callback"
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def _few_are_enough(settings: Any) -> None:
    settings.SCHEDULE_DEACTIVATE_AFTER_FAILURES = 5


@pytest.fixture(autouse=True)
def _the_walk_begins() -> None:
    failures._process_walk.cache_clear()


def make_failing(*, hours: int = 30, states: dict[int, State] | None = None, **values: Any) -> ScheduledExecution:
    """Makes an hourly schedule whose slots of `hours` hours failed, except those that `states` names by their age."""
    now = clock.now().replace(microsecond=0)
    begun = now - (hours + 1) * HOUR
    schedule = make_schedule(
        make_command(callback_url=URL),
        **{"anchor_at": begun, "effective_from": begun, "next_run_at": now + HOUR, **values},
    )
    for age in range(hours + 1):
        add_row(schedule, now - age * HOUR, (states or {}).get(age, State.FAILED))
    return schedule


def add_row(schedule: ScheduledExecution, due_at: datetime, state: State, **values: Any) -> Delivery:
    reasons = {State.FAILED: Reason.REJECTED, State.SKIPPED: Reason.MISSED, State.CANCELLED: Reason.SCHEDULE_CHANGED}
    pending = state == State.PENDING
    return make_delivery(
        schedule.command,
        source_uuid=schedule.uuid,
        due_at=due_at,
        state=state,
        reason=reasons.get(state, ""),
        next_attempt_at=due_at if pending else None,
        finished_at=None if pending else due_at,
        **values,
    )


def test_a_schedule_that_failed_for_a_day_is_deactivated_and_its_unsent_deliveries_are_cancelled() -> None:
    schedule = make_failing()
    hook = Hook.objects.create(
        organization=schedule.organization, command=schedule.command, subscriptions=["platform.schedule.*"]
    )
    pending = add_row(schedule, clock.now(), State.PENDING)

    assert deactivate_failing() == 1

    schedule.refresh_from_db()
    pending.refresh_from_db()
    assert (schedule.is_active, schedule.deactivation_reason) == (False, DeactivationReason.FAILING)
    assert (pending.state, pending.reason) == (State.CANCELLED, Reason.SCHEDULE_DEACTIVATED)
    fan_out()
    event = orjson.loads(Delivery.objects.get(destination=hook.destination).body)
    assert event["event"] == "platform.schedule.deactivated"
    assert event["body"] == {
        "schedule_uuid": str(schedule.uuid), "name": "report", "reason": "failing", "failures": 31,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"hours": 20}, "it has not failed for a day yet"),
        ({"states": {0: State.DELIVERED}}, "its latest delivery arrived"),
        ({"states": {3: State.DELIVERED}}, "one arrived in the last day"),
        ({"states": {24: State.DELIVERED, 25: State.DELIVERED}}, "one arrived a day ago"),
        ({"states": dict.fromkeys(range(1, 28), State.SKIPPED)}, "most were skipped, so few have failed"),
        ({"is_active": False, "deactivation_reason": "paused"}, "it is paused already"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_schedules_stay_active(values: dict[str, Any], why: str) -> None:
    schedule = make_failing(**values)

    assert deactivate_failing() == 0

    before = schedule.is_active
    schedule.refresh_from_db()
    assert schedule.is_active == before


def test_manual_runs_do_not_count() -> None:
    schedule = make_failing(states=dict.fromkeys(range(31), State.SKIPPED))
    for minutes in range(10):
        add_row(schedule, clock.now() - timedelta(days=2, minutes=minutes), State.FAILED, kind=Kind.MANUAL)

    assert deactivate_failing() == 0


def test_a_schedule_with_a_gap_in_its_ledger_stays_active() -> None:
    schedule = make_failing()
    schedule.slots()[15].delete()

    assert deactivate_failing() == 0


def test_skipped_and_pending_runs_do_not_count_as_successes() -> None:
    make_failing(states={1: State.PENDING, 2: State.PENDING, 7: State.SKIPPED, 9: State.CANCELLED})

    assert deactivate_failing() == 1


def test_old_failures_do_not_deactivate_a_resumed_schedule() -> None:
    schedule = make_failing()
    deactivate_failing()

    schedule = services.resume(schedule=schedule)
    add_row(schedule, clock.now(), State.FAILED)

    assert deactivate_failing() == 0
    schedule.refresh_from_db()
    assert (schedule.is_active, schedule.deactivation_reason) == (True, "")


def test_a_resumed_schedule_that_keeps_failing_is_deactivated_again() -> None:
    schedule = make_failing()
    deactivate_failing()
    schedule = services.resume(schedule=schedule)
    resumed = clock.now()
    later = resumed.replace(microsecond=0) + 30 * HOUR

    with clock.replaced_by(lambda: later):
        for number in range(1, 31):
            add_row(schedule, schedule.anchor_at + (31 + number) * HOUR, State.FAILED)
        assert deactivate_failing() == 1


def test_a_schedule_whose_failures_span_less_than_a_day_stays_active() -> None:
    schedule = make_failing(hours=40, states=dict.fromkeys(range(20), State.SKIPPED))

    assert deactivate_failing() == 0

    schedule.refresh_from_db()
    assert schedule.is_active is True


def test_a_schedule_that_changed_after_it_was_found_is_left_alone() -> None:
    schedule = make_failing()
    began, failing_since = schedule.effective_from, schedule.effective_from + HOUR

    assert not failures._deactivate(schedule.pk, began - HOUR, failing_since)
    assert not failures._deactivate(schedule.pk + 1, began, failing_since)


def test_many_failures_cost_two_statements(django_assert_num_queries: Any) -> None:
    command = make_command(callback_url=URL)
    now = clock.now()
    for number in range(100):
        add_row(make_schedule(command), now - timedelta(seconds=number), State.FAILED, now=now)

    with clock.replaced_by(lambda: now), django_assert_num_queries(2):
        assert deactivate_failing() == 0


def test_the_walk_takes_portions_and_starts_again_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "_FAILURES_AT_ONCE", 10)
    monkeypatch.setattr(failures, "_MAX_SECONDS_AT_ONCE", 0.0)
    for _ in range(2):
        make_failing()

    # There are 62 failures. The first and the fourth portion are the first of a schedule, and the seventh is the last.
    assert [deactivate_failing() for _ in range(7)] == [1, 0, 0, 1, 0, 0, 0]

    make_failing(hours=25)
    assert sum(deactivate_failing() for _ in range(9)) == 1


def send_and_fail() -> None:
    """Claims the due deliveries and records that their receiver refused them."""
    (claim,) = queue.claim(limit=10, lease=timedelta(seconds=60))
    record(
        [Outcome(id=claim.id, lease=claim.lease, state=State.FAILED, reason=Reason.REJECTED, attempt=make_attempt())]
    )


def test_recording_a_failure_leads_to_the_deactivation() -> None:
    schedule = make_failing(hours=28, states=dict.fromkeys(range(5), State.SKIPPED))
    add_row(schedule, clock.now(), State.PENDING)
    assert deactivate_failing() == 0

    send_and_fail()
    deactivate_failing()

    schedule.refresh_from_db()
    assert schedule.deactivation_reason == DeactivationReason.FAILING


def test_deactivating_failing_schedules_can_be_switched_off(settings: Any) -> None:
    settings.SCHEDULE_DEACTIVATE_AFTER_FAILURES = 0
    schedule = make_failing()

    assert deactivate_failing() == 0

    schedule.refresh_from_db()
    assert schedule.is_active is True


@contextmanager
def holding(schedule: ScheduledExecution) -> Iterator[threading.Thread]:
    """Locks the schedule's row in another connection for the length of the block."""
    locked, release = threading.Event(), threading.Event()

    def hold() -> None:
        try:
            with transaction.atomic():
                ScheduledExecution.objects.select_for_update().get(pk=schedule.pk)
                locked.set()
                release.wait(20)
        finally:
            connection.close()

    holder = threading.Thread(target=hold)
    holder.start()
    locked.wait(10)
    try:
        yield holder
    finally:
        release.set()
        holder.join()


@pytest.mark.django_db(transaction=True)
def test_a_locked_schedule_holds_up_neither_a_deliverer_nor_the_walk() -> None:
    schedule = make_failing()
    hook = Hook.objects.create(
        organization=schedule.organization, command=schedule.command, subscriptions=["platform.*"]
    )
    add_row(schedule, clock.now(), State.PENDING)

    with holding(schedule) as holder:
        send_and_fail()
        assert deactivate_failing() == 0
        assert holder.is_alive()
        fan_out()
        events = [orjson.loads(row.body)["event"] for row in Delivery.objects.filter(destination=hook.destination)]
        assert events == ["platform.delivery.failed"]

    assert deactivate_failing() == 1
    schedule.refresh_from_db()
    assert schedule.deactivation_reason == DeactivationReason.FAILING


@pytest.mark.django_db(transaction=True)
def test_two_concurrent_walks_deactivate_a_schedule_once() -> None:
    schedule = make_failing()
    hook = Hook.objects.create(
        organization=schedule.organization, command=schedule.command, subscriptions=["platform.*"]
    )
    barrier = threading.Barrier(3)
    counts: list[int] = []

    def walk() -> None:
        found = {schedule.uuid: clock.now()}
        barrier.wait()
        try:
            counts.append(failures._deactivate_failing_of(found))
        finally:
            connection.close()

    threads = [threading.Thread(target=walk) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(counts) == 1
    assert fan_out() == 1
    assert Delivery.objects.filter(destination=hook.destination).count() == 1
