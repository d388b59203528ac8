"""A manual run replaces neither a slot nor another manual run."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from deliveries.models import Kind
from scheduling import dispatch, run_services
from tests.scheduling.dispatching import make_due
from tests.scheduling.schedules import MINUTE, NOON, rows_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("time")]

MICROSECOND = timedelta(microseconds=1)


def test_a_manual_run_at_the_instant_of_a_planned_slot_is_sent_too() -> None:
    schedule = make_due()
    dispatch.dispatch_due()

    run_services.run_now(schedule=schedule)

    assert [(row.kind, row.due_at) for row in rows_of(schedule)] == [
        (Kind.SCHEDULED, NOON), (Kind.MANUAL, NOON + MICROSECOND),
    ]  # fmt: skip


@pytest.mark.parametrize("values", [{}, {"cron": "* * * * *"}, {"execution_frequency": 0, "anchor_at": NOON}])
def test_a_manual_run_at_the_instant_of_an_unplanned_slot_does_not_replace_it(
    values: dict[str, object],
) -> None:
    schedule = make_due(repeats=2, **values)

    run_services.run_now(schedule=schedule)
    dispatch.dispatch_due()

    schedule.refresh_from_db()
    assert [(row.kind, row.due_at) for row in rows_of(schedule)] == [
        (Kind.SCHEDULED, NOON), (Kind.MANUAL, NOON + MICROSECOND),
    ]  # fmt: skip
    assert schedule.repeats == 1


def test_a_manual_run_does_not_replace_a_late_slot_that_is_not_the_next_one(time: list[datetime]) -> None:
    schedule = make_due()
    time[0] = NOON + 2 * MINUTE

    run_services.run_now(schedule=schedule)
    dispatch.dispatch_due()

    assert [row.due_at for row in rows_of(schedule) if row.kind == Kind.SCHEDULED][-1] == NOON + 2 * MINUTE


def test_two_manual_runs_of_one_instant_are_both_sent() -> None:
    schedule = make_due(next_run_at=NOON + MINUTE)

    run_services.run_now(schedule=schedule)
    run_services.run_now(schedule=schedule)

    assert [row.due_at for row in rows_of(schedule)] == [NOON, NOON + MICROSECOND]


def test_an_invalid_schedule_can_have_manual_runs() -> None:
    schedule = make_due(cron="nonsense")

    run_services.run_now(schedule=schedule)

    assert [row.due_at for row in rows_of(schedule)] == [NOON + MICROSECOND]
