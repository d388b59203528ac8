"""`every` through the API: what is stored and shown, what it replaces, and when it runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from deliveries.models import State
from organizations.models import Organization
from scheduling import dispatch, zone_moves
from tests.api import ApiClient
from tests.scheduling.schedules import LIST, NOON, change, create, expanded, run, stored

pytestmark = pytest.mark.django_db

FORTNIGHT: dict[str, Any] = {"weeks": 2, "on": ["MON"], "at": "09:00"}


def on(day: int, hour: int = 9, month: int = 3) -> datetime:
    return datetime(2026, month, day, hour, tzinfo=UTC)


def test_a_period_is_shown_as_it_was_given(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, every={"at": "09:00", "on": ["mon", "THU"], "weeks": 2})
    assert expanded(alice, schedule, "every")["every"] == {"weeks": 2, "on": ["MON", "THU"], "at": "09:00"}
    answer = alice.get(f"{LIST}{schedule.uuid}/").json()
    assert (answer["cron"], answer["execution_frequency"]) == (None, 0)


def test_a_schedule_without_a_period_shows_null(alice: ApiClient) -> None:
    schedule = create(alice, cron="0 9 * * *", every=None)
    assert expanded(alice, schedule, "every") == {"every": None}


def test_weeks_are_counted_from_the_creation_in_the_zone(alice: ApiClient, time: list[datetime]) -> None:
    # Noon is on Wednesday, 25 February. The Monday of that week has passed.
    schedule = create(alice, every=FORTNIGHT, timezone="Europe/Berlin")
    assert schedule.next_run_at == on(9, 8)


def test_weeks_are_counted_from_the_start(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, every=FORTNIGHT, starts_at="2026-03-02T00:00:00Z")
    assert schedule.next_run_at == on(2)
    schedule = create(alice, every=FORTNIGHT, starts_at="2026-03-02T10:00:00Z")
    assert schedule.next_run_at == on(16)


def test_a_period_runs_again_and_again_in_its_phase(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, every={"days": 2, "at": "13:00"})
    for hours in (1, 49, 97):
        time[0] = NOON + timedelta(hours=hours)
        dispatch.dispatch_due()
    rows = list(schedule.slots().values_list("due_at", "state"))
    assert rows == [(NOON + timedelta(hours=hours), State.PENDING) for hours in (1, 49, 97)]
    assert stored(str(schedule.uuid)).next_run_at == NOON + timedelta(hours=145)


def test_a_period_is_written_ahead(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, every={"days": 1, "at": "12:05"})
    time[0] = NOON + timedelta(minutes=5, milliseconds=-500)
    assert dispatch.dispatch_ahead() == 1
    schedule.refresh_from_db()
    assert schedule.next_run_at == NOON + timedelta(days=1, minutes=5)


def test_a_new_time_keeps_the_weeks(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, every=FORTNIGHT)
    time[0] = NOON + timedelta(days=7)
    assert change(alice, schedule, every={**FORTNIGHT, "at": "10:30"}).status_code == 200
    assert schedule.next_run_at == on(9, 10).replace(minute=30)


def test_another_spelling_changes_nothing(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, every={"days": 2, "at": "12:01"})
    run(time, 1)
    before = stored(str(schedule.uuid)).effective_from
    change(alice, schedule, every={"days": 2, "at": "12:01:00"})
    assert schedule.effective_from == before
    assert [row.state for row in schedule.slots()] == [State.PENDING]


def test_another_period_cancels_unsent_deliveries(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, every={"days": 2, "at": "12:01"})
    run(time, 1)
    change(alice, schedule, every={"days": 3, "at": "12:01"})
    assert [row.state for row in schedule.slots()] == [State.CANCELLED]


@pytest.mark.parametrize(
    ("before", "change_to", "cron", "frequency"),
    [
        ({"cron": "0 9 * * *"}, {"every": FORTNIGHT}, None, 0),
        ({"execution_frequency": 60}, {"every": FORTNIGHT, "cron": None}, None, 0),
        ({"every": FORTNIGHT}, {"cron": "0 9 * * *"}, "0 9 * * *", 0),
        ({"every": FORTNIGHT}, {"cron": "@every 5m"}, None, 300),
        ({"every": FORTNIGHT}, {"execution_frequency": 60}, None, 60),
    ],
)
def test_a_schedule_has_one_rule(
    alice: ApiClient, before: dict[str, Any], change_to: dict[str, Any], cron: str | None, frequency: int
) -> None:
    schedule = create(alice, **before)
    answer = change(alice, schedule, **change_to).json()
    assert (answer["cron"], answer["execution_frequency"]) == (cron, frequency)
    assert bool(schedule.every) == ("every" in change_to)


def test_the_documented_keys_sent_back_keep_the_period(alice: ApiClient) -> None:
    schedule = create(alice, every=FORTNIGHT)
    shown = alice.get(f"{LIST}{schedule.uuid}/").json()
    assert change(alice, schedule, **shown).status_code == 200
    assert expanded(alice, schedule, "every")["every"] == FORTNIGHT


@pytest.mark.parametrize("other", [{"cron": "0 9 * * *"}, {"execution_frequency": 60}, {"cron": "@every 5m"}])
def test_a_period_beside_another_rule_is_refused(alice: ApiClient, other: dict[str, Any]) -> None:
    response = alice.post(LIST, {"name": "x", "every": FORTNIGHT, **other})
    assert response.status_code == 400
    assert list(response.json()["errors"]) == ["every"]


@pytest.mark.parametrize("value", [300, "2w", [], {"days": 1}, {"days": "1", "at": "09:00"}])
def test_an_invalid_period_is_a_clear_error(alice: ApiClient, value: object) -> None:
    response = alice.post(LIST, {"name": "x", "every": value})
    assert response.status_code == 400
    assert list(response.json()["errors"]) == ["every"]
    assert alice.put(f"{LIST}{create(alice, cron='0 9 * * *').uuid}/", {"every": value}).status_code == 400


def test_a_period_follows_its_organization_to_another_zone(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, every={"days": 1, "at": "18:00"})
    organization = Organization.objects.get(pk=schedule.organization_id)
    organization.timezone = "America/New_York"
    organization.save()
    zone_moves.follow()
    schedule.refresh_from_db()
    assert schedule.next_run_at == NOON.replace(hour=23)
