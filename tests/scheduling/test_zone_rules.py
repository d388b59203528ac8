"""When a dispatcher has newer rules of time zones, next runs follow them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command

from deliveries.models import Delivery, Reason
from events.models import Hook
from scheduling import dispatch, recompute, services, zone_rules
from scheduling.models import DeactivationReason, ScheduledExecution
from scheduling.walks import ZoneRules
from scheduling.zone_rules import follow
from tests.factories import make_command, make_organization, make_user
from tests.outbox import fan_out
from tests.scheduling.daily import HOUR, NINE, OVERLAP, logged, make_daily, next_run_of
from tests.scheduling.schedules import NOON, URL

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("rules_2026f")]


def test_newer_rules_move_next_runs_computed_from_older_ones(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    moved, right = make_daily(), make_daily(next_run_at=NINE)

    assert follow() == 1

    assert next_run_of(moved) == next_run_of(right) == NINE
    assert moved.effective_from == moved.updated_at == NOON
    assert right.effective_from == NOON - timedelta(days=9)
    assert logged(caplog) == [
        {"event": "next_runs_recompute_began", "zone_rules": "2026f"},
        {"event": "next_runs_recomputed", "zone_rules": "2026f", "seen": 2, "changed": 1, "held": 0, "invalid": 0},
    ]


@pytest.mark.parametrize(
    ("timezone_type", "expected"),
    [
        ("organization_timezone", NINE),
        ("user_timezone", datetime(2026, 2, 25, 14, tzinfo=UTC)),
        ("custom_timezone", datetime(2026, 2, 26, tzinfo=UTC)),
    ],
)
def test_the_walk_uses_the_zone_of_the_organization_the_user_or_the_schedule(
    timezone_type: str, expected: datetime
) -> None:
    organization = make_organization(timezone="Europe/Berlin")
    schedule = make_daily(
        command=make_command(organization, callback_url=URL),
        owner=make_user(organization, timezone="America/New_York"),
        timezone_type=timezone_type,
        timezone="Asia/Tokyo",
    )

    assert follow() == 1

    assert next_run_of(schedule) == expected


@pytest.mark.parametrize(
    "values",
    [
        pytest.param({"cron": "", "execution_frequency": 3600}, id="a period"),
        pytest.param({"cron": ""}, id="a single run"),
        pytest.param({"is_active": False, "deactivation_reason": "paused"}, id="paused"),
        pytest.param({"next_run_at": NOON}, id="due"),
        pytest.param({"next_run_at": NOON - HOUR / 2}, id="late"),
    ],
)
def test_other_schedules_stay_unchanged(values: dict[str, Any]) -> None:
    schedule = make_daily(**values)
    before = ScheduledExecution.objects.filter(pk=schedule.pk).values().get()

    assert follow() == 0

    assert ScheduledExecution.objects.filter(pk=schedule.pk).values().get() == before


def test_a_due_schedule_is_dispatched_and_continues_by_the_new_rules() -> None:
    schedule = make_daily(next_run_at=NOON - HOUR)

    follow()
    dispatch.dispatch_due()

    assert [row.due_at for row in schedule.slots()] == [NOON - HOUR]
    assert next_run_of(schedule) == NINE


def test_without_schedules_the_walk_ends_at_once_and_later_looks_cost_little(
    time: list[datetime], django_assert_num_queries: Any
) -> None:
    assert follow() == 0
    time[0] += 2 * OVERLAP
    assert follow() == 0
    assert ZoneRules.objects.get().began_at == time[0]
    time[0] += 2 * OVERLAP

    # Two read what is known, and one takes the lock. Inside a test, the transaction adds a savepoint.
    with django_assert_num_queries(5):
        assert follow() == 0


def test_the_walk_takes_portions_in_the_order_of_next_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zone_rules, "PORTION_SIZE", 4)
    monkeypatch.setattr(zone_rules, "MAX_SECONDS_AT_ONCE", 0.0)
    schedules = [make_daily(next_run_at=NINE + number * HOUR) for number in range(10, 0, -1)]

    assert [follow() for _ in range(4)] == [4, 4, 2, 0]

    assert ScheduledExecution.objects.filter(next_run_at=NINE).count() == 10
    assert next_run_of(schedules[-1]) == NINE


def test_the_first_portion_is_the_schedules_that_are_due_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zone_rules, "PORTION_SIZE", 1)
    monkeypatch.setattr(zone_rules, "MAX_SECONDS_AT_ONCE", 0.0)
    late, soon = make_daily(next_run_at=NINE + 2 * HOUR), make_daily(next_run_at=NINE - HOUR)

    follow()

    assert (next_run_of(soon), next_run_of(late)) == (NINE, NINE + 2 * HOUR)


def test_a_herd_is_walked_in_portions_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zone_rules, "PORTION_SIZE", 3)
    monkeypatch.setattr(zone_rules, "MAX_SECONDS_AT_ONCE", 60.0)
    command = make_command(make_organization(timezone="Europe/Berlin"), callback_url=URL)
    for _ in range(10):
        make_daily(command=command)

    assert follow() == 10


def test_a_portion_costs_the_same_statements_for_one_and_for_many(django_assert_max_num_queries: Any) -> None:
    command = make_command(make_organization(timezone="Europe/Berlin"), callback_url=URL)
    for _ in range(50):
        make_daily(command=command)

    # This includes the first look, and the last one, which finds nothing.
    with django_assert_max_num_queries(17):
        assert follow() == 50


def test_a_schedule_whose_zone_no_longer_exists_is_skipped_and_ends_when_it_is_due(
    time: list[datetime], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    gone = make_daily(timezone_type="custom_timezone", timezone="Europe/Atlantis", next_run_at=NINE - HOUR)
    other = make_daily()

    assert follow() == 1
    assert next_run_of(other) == NINE
    assert (next_run_of(gone), gone.is_active) == (NINE - HOUR, True)
    assert logged(caplog)[-1]["invalid"] == 1

    time[0] = NINE
    dispatch.dispatch_due()
    gone.refresh_from_db()
    assert (gone.is_active, gone.deactivation_reason) == (False, DeactivationReason.INVALID)
    assert [row.reason for row in gone.slots()] == [Reason.INVALID_SCHEDULE]
    assert other.slots().count() == 1


def test_a_schedule_that_ends_before_its_next_run_by_the_new_rules_is_completed() -> None:
    schedule = make_daily(next_run_at=NINE - HOUR, ends_at=NINE - HOUR / 2)
    hook = Hook.objects.create(
        organization=schedule.organization, command=schedule.command, subscriptions=["platform.schedule.completed"]
    )

    assert follow() == 1

    assert next_run_of(schedule) is None
    assert (schedule.is_active, schedule.deactivation_reason) == (False, DeactivationReason.COMPLETED)
    assert fan_out() == 1
    assert Delivery.objects.filter(destination=hook.destination).exists()


def test_a_schedule_paused_after_it_was_read_is_left_alone() -> None:
    schedule = make_daily(is_active=False, deactivation_reason=DeactivationReason.PAUSED)

    assert recompute._move([schedule.pk], ZoneRules(version="2026f"), None) == 0

    assert next_run_of(schedule) == NINE + HOUR


def test_the_ledger_agrees_with_the_older_rules_before_the_walk_and_the_newer_ones_after(time: list[datetime]) -> None:
    """The older rules fired an hour late. The ledger must not be compared with the new rules for that time."""
    schedule = make_daily(effective_from=NOON - HOUR, next_run_at=NOON - HOUR / 2)
    dispatch.dispatch_due()
    ScheduledExecution.objects.update(next_run_at=NINE + HOUR)

    follow()
    time[0] = NINE + HOUR
    dispatch.dispatch_due()

    output = StringIO()
    call_command("verify_ledger", stdout=output)
    assert output.getvalue() == "1 schedules, 1 slots, 0 differences\n"
    assert [row.due_at for row in schedule.slots()][-1] == NINE


def test_a_resumed_schedule_follows_the_current_rules() -> None:
    schedule = make_daily(is_active=False, deactivation_reason=DeactivationReason.PAUSED)
    follow()

    services.resume(schedule=schedule)

    assert next_run_of(schedule) == NINE
