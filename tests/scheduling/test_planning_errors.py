"""A schedule that cannot be planned is deactivated if it is invalid, or else postponed. Others are not affected."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from django.db import connection

from commands_platform.lib import clock
from deliveries.models import Reason, State
from scheduling.backoff import PlanningBackoff, process_backoff
from scheduling.dispatch import dispatch_ahead, dispatch_due
from scheduling.models import DeactivationReason, ScheduledExecution
from scheduling.walks import ZoneRules
from tests.factories import make_command, make_schedule
from tests.scheduling.schedules import MINUTE, NOON, URL, rows_of

pytestmark = pytest.mark.django_db


def make_due(**values: object) -> ScheduledExecution:
    return make_schedule(make_command(callback_url=URL), next_run_at=NOON, anchor_at=NOON - 60 * MINUTE, **values)


def break_planning(schedule: ScheduledExecution) -> None:
    """Empties the payload, which is never empty, so that planning fails in a way that nobody has foreseen."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE scheduling_scheduledexecution SET payload = '' WHERE id = %s", [schedule.pk])


def mend_planning(schedule: ScheduledExecution) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE scheduling_scheduledexecution SET payload = '{}' WHERE id = %s", [schedule.pk])


def test_a_schedule_that_cannot_be_planned_is_postponed_and_loses_no_slot(time: list[datetime]) -> None:
    broken, healthy = make_due(misfire_policy="skip"), make_due()
    break_planning(broken)

    dispatch_due()
    time[0] += timedelta(seconds=4)
    dispatch_due()
    broken.refresh_from_db(fields=["is_active", "next_run_at"])
    assert (broken.is_active, broken.next_run_at, rows_of(broken)) == (True, NOON, [])
    assert [row.state for row in rows_of(healthy)] == [State.PENDING]

    mend_planning(broken)
    process_backoff.cache_clear()
    time[0] += timedelta(seconds=4)
    dispatch_due()

    assert [(row.due_at, row.state) for row in rows_of(broken)] == [(NOON, State.PENDING)]


def test_a_postponed_schedule_is_not_even_locked(time: list[datetime]) -> None:
    schedule = make_due()
    process_backoff().postpone(schedule.pk)

    assert dispatch_due() == 0
    process_backoff.cache_clear()
    assert dispatch_due() == 1


@pytest.mark.parametrize("values", [{"cron": "no expression"}, {"cron": "* * * * *", "timezone": "Mars/Olympus"}])
def test_an_invalid_expression_or_zone_deactivates_its_schedule(time: list[datetime], values: dict[str, str]) -> None:
    schedule = make_due(timezone_type="custom_timezone", **{"timezone": "UTC", **values})

    dispatch_due()

    schedule.refresh_from_db()
    assert (schedule.is_active, schedule.deactivation_reason) == (False, DeactivationReason.INVALID)
    assert [row.reason for row in rows_of(schedule)] == [Reason.INVALID_SCHEDULE]


def test_a_zone_that_only_newer_rules_know_is_left_to_their_dispatchers(time: list[datetime]) -> None:
    newer = ZoneRules.objects.create(version="9999z", first_used_at=NOON)
    schedule = make_due(cron="* * * * *", timezone_type="custom_timezone", timezone="Mars/Olympus")

    dispatch_due()
    schedule.refresh_from_db()
    assert (schedule.is_active, rows_of(schedule)) == (True, [])

    newer.delete()
    process_backoff.cache_clear()
    dispatch_due()
    schedule.refresh_from_db()
    assert schedule.deactivation_reason == DeactivationReason.INVALID


@pytest.fixture
def poison() -> Iterator[str]:
    """Makes the database refuse to update schedules of one name. Returns that name."""
    with connection.cursor() as cursor:
        cursor.execute(
            "ALTER TABLE scheduling_scheduledexecution ADD CONSTRAINT never"
            f" CHECK (name <> 'poison' OR next_run_at <= '{NOON.isoformat()}')"
        )
    yield "poison"
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE scheduling_scheduledexecution DROP CONSTRAINT never")


@pytest.mark.django_db(transaction=True)
def test_a_schedule_that_the_database_refuses_does_not_stop_others(poison: str) -> None:
    with clock.replaced_by(lambda: NOON):
        others = [make_due() for _ in range(5)]
        refused = make_due(name=poison)
        others += [make_due() for _ in range(6)]

        assert dispatch_due() == 11
        assert dispatch_due() == 0

    assert [len(rows_of(schedule)) for schedule in others] == [1] * 11
    assert rows_of(refused) == []


@pytest.mark.django_db(transaction=True)
def test_a_schedule_that_the_database_refuses_does_not_stop_writing_others_ahead(poison: str) -> None:
    now = [NOON - timedelta(milliseconds=500)]
    with clock.replaced_by(lambda: now[0]):
        refused, other = make_due(name=poison), make_due()

        assert dispatch_ahead() == 0
        now[0] = NOON
        assert dispatch_due() == 1

    assert (len(rows_of(refused)), len(rows_of(other))) == (0, 1)


def test_each_failure_doubles_the_wait_up_to_a_minute() -> None:
    now = [0.0]
    backoff = PlanningBackoff(clock=lambda: now[0])
    waits = []
    for _ in range(8):
        backoff.postpone(1)
        began = now[0]
        while backoff.postponed():
            now[0] += 1
        waits.append(now[0] - began)

    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]


def test_success_ends_the_wait_and_deleted_schedules_are_forgotten() -> None:
    now = [0.0]
    backoff = PlanningBackoff(clock=lambda: now[0])
    backoff.postpone(1)
    backoff.postpone(2)

    backoff.forget(1)
    assert backoff.postponed() == [2]
    now[0] = 10.0
    assert backoff.postponed() == []
    backoff.postpone(2)
    now[0] = 11.0
    assert backoff.postponed() == []
