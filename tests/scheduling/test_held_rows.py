"""A row that somebody has locked, for example in psql, blocks no background work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from commands_platform.lib import clock
from commands_platform.lib.database.identifiers import first_ledger_id_at
from deliveries.models import Delivery, Reason, State
from deliveries.retention import Sweep, remove_surplus
from organizations.models import Command
from scheduling import dispatch, failures, services, zone_rules
from scheduling.failures import deactivate_failing
from scheduling.models import DeactivationReason, ScheduledExecution
from storage.expiry import remove_expired
from storage.models import Item
from tests.factories import make_command, make_delivery, make_schedule
from tests.locks import held_elsewhere, without_waiting
from tests.scheduling.schedules import MINUTE, NOON, URL, rows_of

pytestmark = pytest.mark.django_db(transaction=True)

HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def _nothing_waits() -> Iterator[None]:
    failures._process_walk.cache_clear()
    with without_waiting():
        yield


@pytest.fixture
def command() -> Command:
    return make_command(callback_url=URL)


def make_due(command: Command, **values: Any) -> ScheduledExecution:
    return make_schedule(
        command, **{"execution_frequency": 60, "anchor_at": NOON - MINUTE, "next_run_at": NOON, **values}
    )


def make_failing(command: Command, *, now: datetime) -> ScheduledExecution:
    """Makes an hourly schedule that has failed for thirty hours in a row."""
    begun = now - 31 * HOUR
    schedule = make_schedule(command, anchor_at=begun, effective_from=begun, next_run_at=now + HOUR)
    for age in range(31):
        due_at = now - age * HOUR
        make_delivery(
            command,
            source_uuid=schedule.uuid,
            due_at=due_at,
            state=State.FAILED,
            reason=Reason.REJECTED,
            next_attempt_at=None,
            finished_at=due_at,
        )
    return schedule


def make_old(command: Command, source_uuid: UUID, *, days: int) -> Delivery:
    then = NOON - timedelta(days=days)
    return make_delivery(
        command,
        id=first_ledger_id_at(then),
        source_uuid=source_uuid,
        due_at=then,
        state=State.DELIVERED,
        finished_at=then,
        next_attempt_at=None,
    )


def test_the_dispatcher_skips_locked_schedules_and_ledger_rows(time: list[datetime], command: Command) -> None:
    held, free = make_due(command), make_due(command)
    counted = make_due(command, repeats=3, overlap="skip")
    waiting = make_delivery(command, source_uuid=counted.uuid, due_at=NOON - MINUTE)

    with (
        held_elsewhere(ScheduledExecution.objects.filter(pk=held.pk)),
        held_elsewhere(Delivery.objects.filter(pk=waiting.pk)),
    ):
        assert dispatch.dispatch_due() == 2

    assert (len(rows_of(held)), len(rows_of(free)), len(rows_of(counted))) == (0, 1, 2)


def test_writing_ahead_skips_a_locked_schedule(time: list[datetime], command: Command) -> None:
    time[0] = NOON - timedelta(milliseconds=500)
    held, free = make_due(command), make_due(command)

    with held_elsewhere(ScheduledExecution.objects.filter(pk=held.pk)):
        assert dispatch.dispatch_ahead() == 1

    assert (len(rows_of(held)), len(rows_of(free))) == (0, 1)


@pytest.mark.parametrize("what", [ScheduledExecution, Delivery])
def test_the_walk_over_failing_schedules_skips_a_locked_row_and_returns_to_it(
    command: Command, settings: Any, what: type[ScheduledExecution | Delivery]
) -> None:
    settings.SCHEDULE_DEACTIVATE_AFTER_FAILURES = 5
    now = clock.now().replace(microsecond=0)
    held, free = make_failing(command, now=now), make_failing(command, now=now)
    unsent = make_delivery(command, source_uuid=held.uuid, due_at=now - timedelta(minutes=1))
    rows: Any = what.objects.filter(pk=held.pk if what is ScheduledExecution else unsent.pk)

    with held_elsewhere(rows):
        assert deactivate_failing() == 1
        assert deactivate_failing() == 0
    assert deactivate_failing() == 1

    for schedule in (held, free):
        schedule.refresh_from_db()
        assert schedule.deactivation_reason == DeactivationReason.FAILING
    unsent.refresh_from_db()
    assert unsent.state == State.CANCELLED


def test_the_walk_by_newer_zone_rules_skips_a_locked_row_that_was_written_ahead(
    time: list[datetime], command: Command, rules_2026f: None
) -> None:
    schedule = make_due(command, cron="30 * * * *", next_run_at=NOON)
    time[0] = NOON - timedelta(milliseconds=500)
    assert dispatch.dispatch_ahead() == 1

    with held_elsewhere(Delivery.objects.of_source(schedule.uuid)):
        zone_rules.follow()

    assert [row.state for row in rows_of(schedule)] == [State.PENDING]


@pytest.mark.parametrize("remove", ["aged", "surplus"])
def test_retention_skips_a_locked_row(time: list[datetime], command: Command, remove: str) -> None:
    schedule = make_due(command)
    held, _ = make_old(command, schedule.uuid, days=41), make_old(command, schedule.uuid, days=40)
    newest = make_delivery(command, source_uuid=schedule.uuid, due_at=NOON)
    month = timedelta(days=30)
    removals: dict[str, Callable[[], int]] = {
        "aged": lambda: Sweep(keep_finished=month, keep_failed=month).remove_aged(limit=100),
        "surplus": lambda: remove_surplus(source_uuid=schedule.uuid, keep=0, limit=100),
    }

    with held_elsewhere(Delivery.objects.filter(pk=held.pk)):
        assert removals[remove]() == 1

    assert rows_of(schedule) == [held, newest]


def test_expiry_skips_a_locked_item(command: Command) -> None:
    then = clock.now() - HOUR
    held, _ = (
        Item.objects.create(organization=command.organization, command=command, key=key, value=1, expires_at=then)
        for key in ("held", "free")
    )

    with held_elsewhere(Item.objects.filter(pk=held.pk)):
        assert remove_expired() == 1

    assert list(Item.objects.all()) == [held]


@pytest.mark.django_db
def test_resuming_a_failing_schedule_just_before_its_slot_loses_no_slot(
    time: list[datetime], command: Command, settings: Any
) -> None:
    """Its row was written ahead, and the deactivation must not leave anything in place of the slot."""
    settings.SCHEDULE_DEACTIVATE_AFTER_FAILURES = 5
    time[0] = NOON - HOUR
    schedule = make_failing(command, now=time[0])
    time[0] = NOON - timedelta(milliseconds=700)
    assert dispatch.dispatch_ahead() == 1

    assert deactivate_failing() == 1
    schedule.refresh_from_db()
    assert (schedule.is_active, schedule.next_run_at) == (False, NOON)
    time[0] = NOON - timedelta(milliseconds=300)
    services.resume(schedule=schedule)
    time[0] = NOON
    dispatch.dispatch_due()

    last = rows_of(schedule)[-1]
    assert (last.due_at, last.state) == (NOON, State.PENDING)


@pytest.mark.django_db
def test_pausing_and_resuming_a_schedule_just_before_its_slot_loses_no_slot(
    time: list[datetime], command: Command
) -> None:
    schedule = make_due(command)
    time[0] = NOON - timedelta(milliseconds=700)
    assert dispatch.dispatch_ahead() == 1

    services.pause(schedule=schedule)
    time[0] = NOON - timedelta(milliseconds=300)
    services.resume(schedule=schedule)
    time[0] = NOON
    dispatch.dispatch_due()

    assert [(row.due_at, row.state) for row in rows_of(schedule)] == [(NOON, State.PENDING)]
