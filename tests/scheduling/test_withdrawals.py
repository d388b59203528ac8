"""A slot that was written ahead is withdrawn if its schedule changes before its time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import transaction

from deliveries.models import Reason, State
from deliveries.services import cancel_pending
from scheduling import dispatch, run_services, services, zone_moves, zone_rules
from scheduling.ahead import write_ahead_batch
from scheduling.models import DeactivationReason, ScheduledExecution
from tests.factories import make_command, make_delivery, make_user
from tests.locks import wait_for_waiters
from tests.scheduling.minutely import BEFORE, URL, claim, make_minutely, payloads_of, rows_of, written_ahead
from tests.scheduling.schedules import MINUTE, NOON
from tests.threads import Threads

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _half_a_second_before_noon(time: list[datetime]) -> None:
    time[0] = BEFORE


def test_a_change_just_before_a_slot_is_in_its_callback(time: list[datetime]) -> None:
    schedule = written_ahead()

    services.update_scheduled_execution(schedule=schedule, changes={"payload": {"version": 2}})
    time[0] = NOON
    dispatch.dispatch_due()

    assert rows_of(schedule) == [(NOON, State.PENDING, "")]
    assert payloads_of(schedule) == [{"version": 2}]


def test_a_new_timing_without_the_slot_withdraws_its_row(time: list[datetime]) -> None:
    schedule = written_ahead()

    services.update_scheduled_execution(schedule=schedule, changes={"execution_frequency": 7})
    time[0] = NOON
    dispatch.dispatch_due()

    assert rows_of(schedule) == []
    schedule.refresh_from_db()
    assert schedule.next_run_at == NOON + timedelta(seconds=7)


def test_a_slot_withdrawn_by_a_pause_is_recorded_when_the_schedule_is_resumed(time: list[datetime]) -> None:
    schedule = written_ahead()

    services.pause(schedule=schedule)
    assert rows_of(schedule) == []
    time[0] = NOON + timedelta(seconds=30)
    schedule.refresh_from_db()
    services.resume(schedule=schedule)

    assert rows_of(schedule) == [(NOON, State.SKIPPED, Reason.PAUSED)]


def test_deleting_a_schedule_just_before_a_slot_leaves_no_row() -> None:
    schedule = written_ahead()

    services.delete_scheduled_execution(schedule=schedule)

    assert rows_of(schedule) == []


def test_a_manual_run_just_before_a_slot_changes_nothing(time: list[datetime]) -> None:
    schedule = written_ahead()

    run_services.run_now(schedule=schedule)
    time[0] = NOON
    dispatch.dispatch_due()

    assert rows_of(schedule) == [(BEFORE, State.PENDING, ""), (NOON, State.PENDING, "")]


def test_a_claimed_row_is_not_withdrawn(time: list[datetime]) -> None:
    schedule = written_ahead()
    time[0] = NOON
    assert len(claim()) == 1
    # The clock steps back.
    time[0] = BEFORE

    services.update_scheduled_execution(schedule=schedule, changes={"payload": {"version": 2}})
    time[0] = NOON
    dispatch.dispatch_due()

    assert rows_of(schedule) == [(NOON, State.PENDING, Reason.SCHEDULE_CHANGED)]


def test_retries_and_slots_of_other_schedules_are_not_withdrawn() -> None:
    schedule = written_ahead()
    retried = make_delivery(
        schedule.command,
        source_uuid=schedule.uuid,
        due_at=NOON - MINUTE,
        next_attempt_at=NOON + MINUTE,
        attempt_count=1,
    )
    other = written_ahead()

    services.update_scheduled_execution(schedule=schedule, changes={"name": "renamed"})

    retried.refresh_from_db()
    assert (retried.state, retried.reason) == (State.PENDING, "")
    assert rows_of(schedule) == [(NOON - MINUTE, State.PENDING, "")]
    assert rows_of(other) == [(NOON, State.PENDING, "")]


def test_a_change_of_zone_just_before_a_slot_moves_the_slot() -> None:
    user = make_user(timezone="UTC")
    command = make_command(user.organization, callback_url=URL)
    schedule = make_minutely(
        command=command, owner=user, execution_frequency=0, cron="0 12 * * *", timezone_type="user_timezone"
    )
    assert dispatch.dispatch_ahead() == 1

    user.timezone = "Asia/Tokyo"
    user.save()
    zone_moves.follow()

    schedule.refresh_from_db()
    assert schedule.next_run_at == datetime(2026, 2, 26, 3, 0, tzinfo=UTC)
    assert rows_of(schedule) == []


def test_newer_zone_rules_withdraw_a_row_that_older_ones_wrote_ahead(settings: Any) -> None:
    schedule = written_ahead(execution_frequency=0, cron="* * * * *")
    # The time that older rules would give.
    ScheduledExecution.objects.filter(pk=schedule.pk).update(next_run_at=NOON + timedelta(hours=1))

    settings.TZDATA_VERSION = "2099a"
    assert zone_rules.follow() == 1

    schedule.refresh_from_db()
    assert (schedule.next_run_at, rows_of(schedule)) == (NOON, [])


def test_newer_zone_rules_that_give_the_same_slot_keep_its_row(settings: Any) -> None:
    schedule = written_ahead(execution_frequency=0, cron="* * * * *")

    settings.TZDATA_VERSION = "2099a"
    assert zone_rules.follow() == 0

    assert rows_of(schedule) == [(NOON, State.PENDING, "")]


def test_deactivating_a_failing_schedule_just_before_a_slot_cancels_its_row(time: list[datetime]) -> None:
    schedule = written_ahead()
    ScheduledExecution.objects.filter(pk=schedule.pk).update(
        is_active=False, deactivation_reason=DeactivationReason.FAILING
    )
    cancel_pending(source_uuids=[schedule.uuid], reason=Reason.SCHEDULE_DEACTIVATED)

    schedule.refresh_from_db()
    services.resume(schedule=schedule)
    time[0] = NOON + timedelta(seconds=1)
    dispatch.dispatch_due()

    assert rows_of(schedule) == [(NOON, State.CANCELLED, Reason.SCHEDULE_DEACTIVATED)]


def test_slots_written_ahead_are_withdrawn_and_fire_again_after_the_clock_steps_back(time: list[datetime]) -> None:
    schedule = make_minutely(execution_frequency=1)
    for second in range(3):
        time[0] = BEFORE + timedelta(seconds=second)
        assert dispatch.dispatch_ahead() == 1
    time[0] = BEFORE

    schedule.refresh_from_db()
    services.update_scheduled_execution(schedule=schedule, changes={"payload": {"version": 2}})
    assert rows_of(schedule) == []
    time[0] = NOON + timedelta(seconds=2)
    dispatch.dispatch_due()

    assert [due_at for due_at, _, _ in rows_of(schedule)] == [NOON + timedelta(seconds=second) for second in range(3)]
    assert payloads_of(schedule) == [{"version": 2}] * 3


@pytest.mark.parametrize("repeats", [5, 1])
def test_rows_written_at_their_time_stay_when_the_clock_steps_back(time: list[datetime], repeats: int) -> None:
    schedule = make_minutely(repeats=repeats)
    time[0] = NOON
    dispatch.dispatch_due()
    time[0] = BEFORE

    schedule.refresh_from_db()
    services.update_scheduled_execution(schedule=schedule, changes={"name": "renamed"})

    assert rows_of(schedule) == [(NOON, State.PENDING, "")]
    assert schedule.repeats == repeats - 1


@pytest.mark.django_db(transaction=True)
def test_a_change_waits_for_the_dispatcher_and_withdraws_the_row_that_it_wrote(threads: Threads) -> None:
    schedule = make_minutely()

    def change() -> None:
        services.update_scheduled_execution(schedule=schedule, changes={"payload": {"version": 2}})

    with transaction.atomic():
        write_ahead_batch(BEFORE, due_at=NOON, limit=10)
        changing = threads.start(change)
        wait_for_waiters(1)
    changing.result(10)
    schedule.refresh_from_db()

    assert (rows_of(schedule), schedule.next_run_at, schedule.payload) == ([], NOON, {"version": 2})


@pytest.mark.django_db(transaction=True)
def test_a_withdrawal_waits_for_a_claim_and_leaves_its_row(time: list[datetime], threads: Threads) -> None:
    schedule = written_ahead()

    def change() -> None:
        services.update_scheduled_execution(schedule=schedule, changes={"name": "renamed"})

    with transaction.atomic():
        time[0] = NOON
        assert len(claim()) == 1
        time[0] = BEFORE
        changing = threads.start(change)
        wait_for_waiters(1)
    changing.result(10)
    schedule.refresh_from_db()

    assert (rows_of(schedule), schedule.next_run_at) == ([(NOON, State.PENDING, "")], NOON + MINUTE)
