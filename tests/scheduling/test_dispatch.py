"""The dispatcher writes each due slot into the ledger once, and moves its schedule to the next run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import orjson
import pytest
from django.db import connection

from commands_platform.lib import clock
from deliveries.bodies import whole_body
from deliveries.models import Kind, Reason, State
from scheduling import dispatch
from scheduling.models import DeactivationReason, ScheduledExecution
from tests.factories import make_command, make_organization, make_user
from tests.scheduling.dispatching import URL, dispatch_at, make_due
from tests.scheduling.schedules import NOON, rows_of

pytestmark = pytest.mark.django_db


def test_a_due_slot_becomes_a_pending_row_with_the_documented_body() -> None:
    organization = make_organization()
    user = make_user(organization)
    command = make_command(organization, callback_url=URL)
    schedule = make_due(command=command, owner=user, payload={"b": 1, "a": [1.0, "é"]}, name="report")

    dispatch_at(NOON)

    (row,) = rows_of(schedule)
    assert (row.state, row.kind, row.due_at, row.url) == (State.PENDING, Kind.SCHEDULED, NOON, URL)
    assert (row.organization, row.command, row.user) == (organization, command, user)
    assert row.body == '{"b":1,"a":[1.0,"é"]}'
    assert list(orjson.loads(whole_body(row)).items()) == [
        ("intent", command.name),
        ("query", ""),
        ("event_timestamp", "2026-02-25T12:00:00Z"),
        ("organization_uuid", str(organization.uuid)),
        ("user_uuid", str(user.uuid)),
        ("user_full_name", user.full_name),
        ("command_uuid", str(command.uuid)),
        ("exchange_token", None),
        ("payload", {"b": 1, "a": [1.0, "é"]}),
        (
            "scheduled_execution",
            {"uuid": str(schedule.uuid), "name": "report", "due_at": "2026-02-25T12:00:00Z", "attempt": 0},
        ),
    ]


def test_a_schedule_that_is_not_due_or_not_active_is_not_dispatched() -> None:
    later = make_due(next_run_at=NOON + timedelta(seconds=1))
    paused = make_due(is_active=False)

    assert dispatch_at(NOON) == 0

    assert rows_of(later) == rows_of(paused) == []


def test_a_late_tick_does_not_shift_the_phase_of_a_period() -> None:
    schedule = make_due()

    dispatch_at(NOON + timedelta(seconds=3.7))

    schedule.refresh_from_db()
    assert schedule.next_run_at == NOON + timedelta(minutes=1)


def test_slots_that_are_a_little_late_all_fire() -> None:
    schedule = make_due(execution_frequency=1, anchor_at=NOON - timedelta(seconds=1))

    dispatch_at(NOON + timedelta(seconds=3))

    rows = rows_of(schedule)
    assert [row.due_at - NOON for row in rows] == [timedelta(seconds=n) for n in range(4)]
    assert {row.state for row in rows} == {State.PENDING}


def test_after_an_outage_the_latest_slot_fires_and_the_others_are_one_row() -> None:
    schedule = make_due(repeats=5)

    dispatch_at(NOON + timedelta(hours=1, seconds=20))

    missed, latest = rows_of(schedule)
    assert (missed.state, missed.reason, missed.slot_count) == (State.SKIPPED, Reason.MISSED, 60)
    assert (missed.due_at, missed.last_due_at) == (NOON, NOON + timedelta(minutes=59))
    assert (latest.state, latest.due_at) == (State.PENDING, NOON + timedelta(hours=1))
    schedule.refresh_from_db()
    assert schedule.next_run_at == NOON + timedelta(hours=1, minutes=1)
    assert schedule.repeats == 4


def test_a_single_missed_slot_is_a_row_without_a_range() -> None:
    schedule = make_due()

    dispatch_at(NOON + timedelta(minutes=1, seconds=20))

    missed, latest = rows_of(schedule)
    assert (missed.reason, missed.slot_count, missed.last_due_at) == (Reason.MISSED, 1, None)
    assert latest.due_at == NOON + timedelta(minutes=1)


def test_each_run_takes_a_repeat_and_the_last_completes_the_schedule() -> None:
    schedule = make_due(repeats=2)

    dispatch_at(NOON)
    schedule.refresh_from_db()
    assert (schedule.repeats, schedule.is_active) == (1, True)
    dispatch_at(NOON + timedelta(minutes=1))
    dispatch_at(NOON + timedelta(minutes=2))

    schedule.refresh_from_db()
    assert (schedule.repeats, schedule.is_active, schedule.next_run_at) == (0, False, None)
    assert schedule.deactivation_reason == DeactivationReason.COMPLETED
    assert len(rows_of(schedule)) == 2


def test_a_schedule_without_cron_and_frequency_runs_once() -> None:
    schedule = make_due(execution_frequency=0, anchor_at=NOON)

    dispatch_at(NOON + timedelta(seconds=1))

    schedule.refresh_from_db()
    assert schedule.is_active is False
    assert [row.due_at for row in rows_of(schedule)] == [NOON]


@pytest.mark.parametrize(
    ("timezone_type", "expected_hour"),
    [("organization_timezone", 14), ("user_timezone", 8), ("custom_timezone", 0)],
)
def test_the_zone_is_resolved_when_the_next_run_is_computed(timezone_type: str, expected_hour: int) -> None:
    organization = make_organization(timezone="America/New_York")
    user = make_user(organization, timezone="Europe/Berlin")
    schedule = make_due(
        command=make_command(organization, callback_url=URL),
        owner=user,
        cron="0 9 * * *",
        timezone_type=timezone_type,
        timezone="Asia/Tokyo" if timezone_type == "custom_timezone" else "",
    )

    dispatch_at(NOON)

    schedule.refresh_from_db()
    assert schedule.next_run_at is not None
    assert schedule.next_run_at.hour == expected_hour


@pytest.mark.parametrize(
    "reason",
    [Reason.NO_CALLBACK_URL, Reason.COMMAND_INACTIVE, Reason.ORGANIZATION_INACTIVE, Reason.USER_INACTIVE],
)
def test_a_slot_that_cannot_be_sent_is_recorded_as_skipped_and_takes_no_repeat(reason: Reason) -> None:
    organization = make_organization(is_active=reason != Reason.ORGANIZATION_INACTIVE)
    command = make_command(
        organization,
        callback_url="" if reason == Reason.NO_CALLBACK_URL else URL,
        is_active=reason != Reason.COMMAND_INACTIVE,
    )
    user = make_user(organization, is_active=reason != Reason.USER_INACTIVE)
    schedule = make_due(command=command, owner=user, repeats=3)

    dispatch_at(NOON)

    (row,) = rows_of(schedule)
    assert (row.state, row.reason) == (State.SKIPPED, reason)
    schedule.refresh_from_db()
    assert (schedule.repeats, schedule.is_active) == (3, True)


def test_an_invalid_schedule_is_deactivated_and_the_batch_continues() -> None:
    poison = make_due(cron="61 * * * *")
    healthy = make_due()

    dispatch_at(NOON)

    poison.refresh_from_db()
    (row,) = rows_of(poison)
    assert (poison.is_active, poison.deactivation_reason) == (False, DeactivationReason.INVALID)
    assert (row.state, row.reason) == (State.SKIPPED, Reason.INVALID_SCHEDULE)
    assert len(rows_of(healthy)) == 1


def test_no_slot_fires_twice_when_the_clock_steps_back() -> None:
    schedule = make_due()
    dispatch_at(NOON)
    ScheduledExecution.objects.filter(pk=schedule.pk).update(next_run_at=NOON)

    dispatch_at(NOON)

    assert len(rows_of(schedule)) == 1


@pytest.mark.django_db(transaction=True)
def test_a_failed_dispatch_changes_nothing() -> None:
    schedule = make_due()
    with connection.cursor() as cursor:
        cursor.execute(
            "ALTER TABLE scheduling_scheduledexecution ADD CONSTRAINT never"
            f" CHECK (next_run_at <= '{NOON.isoformat()}')"
        )
    try:
        assert dispatch_at(NOON) == 0
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE scheduling_scheduledexecution DROP CONSTRAINT never")

    assert rows_of(schedule) == []


def test_a_schedule_with_an_invalid_url_does_not_stop_the_others() -> None:
    """The API refuses such a URL, but a shell or an import may write it."""
    broken = make_due(command=make_command(callback_url="example.com/hook"))
    healthy = make_due()

    dispatch_at(NOON)

    assert [row.reason for row in rows_of(broken)] == [Reason.INVALID_CALLBACK_URL]
    assert [row.state for row in rows_of(healthy)] == [State.PENDING]


def test_a_command_that_is_no_longer_public_is_not_called_for_other_organizations() -> None:
    command = make_command(callback_url=URL, is_public=False)
    schedule = make_due(command=command, organization=make_organization())

    dispatch_at(NOON)

    assert [row.reason for row in rows_of(schedule)] == [Reason.COMMAND_INACTIVE]


def test_a_tick_that_comes_slightly_early_waits_for_the_slot() -> None:
    """Beat ticks by the clock of its own machine, but the database's clock decides."""
    schedule = make_due()
    offset = NOON - timedelta(milliseconds=60) - clock.now()

    with clock.replaced_by(lambda: datetime.now(UTC) + offset):
        assert dispatch.tick() == 1

    assert [row.due_at for row in rows_of(schedule)] == [NOON]


@pytest.mark.parametrize(("max_attempts", "hours"), [(None, 24), (3, 24), (8, 24), (9, 36), (20, 168)])
def test_a_slot_with_more_attempts_is_given_up_later(max_attempts: int | None, hours: int) -> None:
    """Each further wait of ten hours, with its jitter, adds to the time that a row may wait for a silent origin."""
    schedule = make_due(max_attempts=max_attempts)

    dispatch_at(NOON)

    (row,) = rows_of(schedule)
    assert row.max_attempts == (max_attempts or 8)
    assert row.expires_at - NOON == timedelta(hours=hours)
