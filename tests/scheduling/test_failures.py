"""A schedule whose callbacks fail for too long is deactivated, and comes back when it is resumed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Any

import orjson
import pytest

from commands_platform.lib import clock
from deliveries import ledger
from deliveries.ledger import Outcome
from deliveries.models import Delivery, Kind, Reason, State
from events.models import Hook
from scheduling import services
from scheduling.failures import deactivate_failing_of
from scheduling.models import DeactivationReason, ScheduledExecution
from tests.factories import make_command, make_delivery, make_schedule

pytestmark = pytest.mark.django_db

Capture = Callable[..., AbstractContextManager[list[Any]]]
URL = "http://127.0.0.1:9/callback"
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def _few_are_enough(settings: Any) -> None:
    settings.SCHEDULE_DEACTIVATE_AFTER_FAILURES = 5


def make_failing(*, hours: int = 30, states: dict[int, State] | None = None, **values: Any) -> ScheduledExecution:
    """Hourly, in the ledger for `hours` hours, of which each failed but those that `states` names by their age."""
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


def check(*schedules: ScheduledExecution) -> int:
    """What follows from the failure of the latest delivery of each."""
    ids = [schedule.slots().filter(state=State.FAILED).values_list("pk", flat=True).last() for schedule in schedules]
    return deactivate_failing_of(ids=[id_ for id_ in ids if id_])


def test_a_schedule_that_has_failed_for_a_day_is_deactivated_and_what_it_has_not_sent_is_cancelled() -> None:
    schedule = make_failing()
    hook = Hook.objects.create(
        organization=schedule.organization, command=schedule.command, subscriptions=["platform.schedule.*"]
    )
    pending = add_row(schedule, clock.now(), State.PENDING)

    assert check(schedule) == 1

    schedule.refresh_from_db()
    pending.refresh_from_db()
    assert (schedule.is_active, schedule.deactivation_reason) == (False, DeactivationReason.FAILING)
    assert (pending.state, pending.reason) == (State.CANCELLED, Reason.SCHEDULE_DEACTIVATED)
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
def test_others_go_on(values: dict[str, Any], why: str) -> None:
    schedule = make_failing(**values)

    assert check(schedule) == 0

    before = schedule.is_active
    schedule.refresh_from_db()
    assert schedule.is_active == before


def test_runs_that_were_asked_for_by_hand_do_not_count() -> None:
    schedule = make_failing(states=dict.fromkeys(range(31), State.SKIPPED))
    manual = add_row(schedule, clock.now() - timedelta(days=2, minutes=1), State.FAILED, kind=Kind.MANUAL)

    assert deactivate_failing_of(ids=[manual.pk]) == 0


def test_where_the_ledger_has_forgotten_a_success_nothing_is_concluded() -> None:
    schedule = make_failing()
    schedule.slots()[15].delete()

    assert check(schedule) == 0


def test_what_is_skipped_or_still_to_be_tried_again_is_no_success() -> None:
    schedule = make_failing(states={1: State.PENDING, 2: State.PENDING, 7: State.SKIPPED, 9: State.CANCELLED})

    assert check(schedule) == 1


def test_a_schedule_that_is_resumed_is_not_deactivated_by_its_old_failures() -> None:
    schedule = make_failing()
    check(schedule)

    schedule = services.resume(schedule=schedule)
    failed = add_row(schedule, clock.now(), State.FAILED)

    assert deactivate_failing_of(ids=[failed.pk]) == 0
    schedule.refresh_from_db()
    assert (schedule.is_active, schedule.deactivation_reason) == (True, "")


def test_a_schedule_that_fails_on_after_it_was_resumed_is_deactivated_again() -> None:
    schedule = make_failing()
    check(schedule)
    schedule = services.resume(schedule=schedule)
    resumed = clock.now()
    later = resumed.replace(microsecond=0) + 30 * HOUR

    with clock.replaced_by(lambda: later):
        for number in range(1, 31):
            failed = add_row(schedule, schedule.anchor_at + (31 + number) * HOUR, State.FAILED)
        assert deactivate_failing_of(ids=[failed.pk]) == 1


def test_one_that_was_changed_since_it_was_found_is_left_alone() -> None:
    schedule = make_failing()

    assert not services.deactivate_failing(
        pk=schedule.pk, effective_from=schedule.effective_from - HOUR, failing_since=schedule.effective_from + HOUR
    )
    assert not services.deactivate_failing(
        pk=schedule.pk + 1, effective_from=schedule.effective_from, failing_since=schedule.effective_from
    )


def test_many_failures_cost_one_statement(django_assert_num_queries: Any) -> None:
    command = make_command(callback_url=URL)
    now = clock.now()
    failed = [
        add_row(make_schedule(command), now - timedelta(seconds=number), State.FAILED, now=now).pk
        for number in range(100)
    ]

    with clock.replaced_by(lambda: now), django_assert_num_queries(1):
        assert deactivate_failing_of(ids=failed) == 0


def send_and_fail() -> None:
    """A sender claims what is due, and the receiver refuses it."""
    (claim,) = ledger.claim_due(limit=10, lease=timedelta(seconds=60))
    ledger.record(
        [Outcome(id=claim.id, lease=claim.lease, state=State.FAILED, reason=Reason.REJECTED, attempt={"number": 1})]
    )


def test_it_follows_from_the_recording_of_a_failure(django_capture_on_commit_callbacks: Capture) -> None:
    schedule = make_failing()
    add_row(schedule, clock.now(), State.PENDING)

    with django_capture_on_commit_callbacks(execute=True):
        send_and_fail()

    schedule.refresh_from_db()
    assert schedule.deactivation_reason == DeactivationReason.FAILING


def test_it_can_be_switched_off(settings: Any, django_capture_on_commit_callbacks: Capture) -> None:
    settings.SCHEDULE_DEACTIVATE_AFTER_FAILURES = 0
    schedule = make_failing()
    add_row(schedule, clock.now(), State.PENDING)

    with django_capture_on_commit_callbacks(execute=True):
        send_and_fail()

    schedule.refresh_from_db()
    assert schedule.is_active is True
