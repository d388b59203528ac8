"""`except`: slots on excluded days are recorded as skipped, and use up no repeat."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from deliveries.models import State
from scheduling import dispatch
from scheduling.models import ScheduledExecution
from scheduling.verification import Verification
from tests.api import ApiClient
from tests.scheduling.schedules import LIST, NOON, change, create, expanded, fired, rows_of, run, skipped, stored

pytestmark = pytest.mark.django_db

TODAY, TOMORROW = "2026-02-25", "2026-02-26"
HOURLY: dict[str, Any] = {"execution_frequency": 3600}


def at_hours(time: list[datetime], *hours: int) -> None:
    for hour in hours:
        time[0] = NOON + timedelta(hours=hour)
        dispatch.dispatch_due()


def rows(schedule: ScheduledExecution) -> list[tuple[float, int, str, str]]:
    """Returns the hours after noon, the number of slots, the state and the reason of each row."""
    return [
        ((row.due_at - NOON) / timedelta(hours=1), row.slot_count, row.state, row.reason) for row in schedule.slots()
    ]


def test_exceptions_are_shown_as_they_were_given(alice: ApiClient) -> None:
    schedule = create(alice, cron="0 9 * * *", **{"except": ["2026-12-25", "2026-12-24/2027-01-06", "2026-12-25"]})
    assert expanded(alice, schedule, "except")["except"] == ["2026-12-25", "2026-12-24/2027-01-06"]
    assert expanded(alice, create(alice, cron="0 9 * * *"), "except")["except"] == []
    change(alice, schedule, **{"except": None})
    assert expanded(alice, schedule, "except")["except"] == []


def test_slots_on_excluded_days_are_one_row(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, **HOURLY, **{"except": [TOMORROW]})
    at_hours(time, *range(1, 39))
    assert rows(schedule) == [
        *((hour, 1, State.PENDING, "") for hour in range(1, 12)),
        (12, 24, State.SKIPPED, "excluded"),
        *((hour, 1, State.PENDING, "") for hour in range(36, 39)),
    ]


def test_several_late_slots_are_divided_by_day(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, **HOURLY, misfire_policy="fire_all", **{"except": [TODAY]})
    at_hours(time, 14)
    assert rows(schedule) == [
        (1, 11, State.SKIPPED, "excluded"),
        *((hour, 1, State.PENDING, "") for hour in range(12, 15)),
    ]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("fire_latest", [(1, 10, State.SKIPPED, "missed"), (11, 1, State.PENDING, "")]),
        ("skip", [(1, 11, State.SKIPPED, "missed")]),
    ],
)
def test_missed_slots_are_divided_by_day(
    alice: ApiClient, time: list[datetime], policy: str, expected: list[tuple[float, int, str, str]]
) -> None:
    schedule = create(alice, **HOURLY, misfire_policy=policy, **{"except": [TOMORROW]})
    at_hours(time, 20)
    found = rows(schedule)
    assert [row for row in found if row[3] != "excluded"] == expected
    assert sum(row[1] for row in found) == 20
    assert {row[3] for row in found if row[0] >= 12} == {"excluded"}


def test_an_excluded_slot_uses_up_no_repeat(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, **HOURLY, repeats=2, **{"except": [TODAY]})
    at_hours(time, *range(1, 15))
    schedule.refresh_from_db()
    assert (schedule.repeats, schedule.is_active, schedule.deactivation_reason) == (0, False, "completed")
    assert fired(schedule) == [12 * 60, 13 * 60]


def test_an_excluded_slot_is_not_written_ahead(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, cron="5 12 * * *", **{"except": [TODAY]})
    time[0] = NOON + timedelta(minutes=5, milliseconds=-500)
    assert dispatch.dispatch_ahead() == 0
    run(time, 5)
    assert skipped(schedule) == [(5, 5, 1, "excluded")]


def test_a_slot_that_was_written_ahead_is_withdrawn_by_an_exception(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, cron="5 12 * * *")
    time[0] = NOON + timedelta(minutes=5, milliseconds=-500)
    assert dispatch.dispatch_ahead() == 1
    change(alice, schedule, **{"except": [TODAY]})
    run(time, 5)
    assert skipped(schedule) == [(5, 5, 1, "excluded")]


def test_an_exception_cancels_only_unsent_deliveries_of_its_days(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, **HOURLY)
    at_hours(time, 11, 12)
    before = stored(str(schedule.uuid))
    change(alice, schedule, **{"except": [TOMORROW]})
    assert [row.state for row in rows_of(schedule)][-2:] == [State.PENDING, State.CANCELLED]
    assert (schedule.anchor_at, schedule.effective_from) == (before.anchor_at, before.effective_from)


def test_the_next_run_that_is_shown_is_not_excluded(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, **HOURLY, **{"except": [TODAY]})
    assert expanded(alice, schedule, "next_run_at")["next_run_at"] == "2026-02-26T00:00:00Z"
    listed = alice.get(f"{LIST}?expand=next_run_at").json()["results"][0]
    assert listed["next_run_at"] == "2026-02-26T00:00:00Z"


def test_a_preview_marks_excluded_slots(alice: ApiClient, time: list[datetime]) -> None:
    body = {"cron": "0 9 * * *", "except": [TOMORROW], "count": 2, "repeats": 1}
    slots = alice.post(f"{LIST}preview/", body).json()["slots"]
    assert [(slot["due_at"], slot["note"]) for slot in slots] == [
        ("2026-02-26T09:00:00Z", "excluded"),
        ("2026-02-27T09:00:00Z", None),
    ]


def test_excluded_days_are_local_days(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, cron="30 5 * * *", timezone="Asia/Tokyo", **{"except": [TOMORROW]})
    # 05:30 on the 26th in Tokyo is 20:30 on the 25th in UTC.
    assert expanded(alice, schedule, "next_run_at")["next_run_at"] == "2026-02-26T20:30:00Z"


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        (["2026-02-30"], "'2026-02-30' is not a date that exists."),
        (["2026-03-02/2026-03-01"], "ends before it begins"),
        (["25.12.2026"], "is neither a date such as 2026-12-25"),
        (["holidays"], "The organization has no calendar 'holidays'. It has none."),
        ([5], "Not a valid string."),
        ("2026-12-25", "Expected a list of items"),
        (["2026-12-25"] * 101, "There may be 100 of these at most."),
    ],
)
def test_an_invalid_exception_is_refused(alice: ApiClient, entries: Any, reason: str) -> None:
    response = alice.post(LIST, {"name": "x", "cron": "0 9 * * *", "except": entries})
    assert response.status_code == 400
    ((field, messages),) = response.json()["errors"].items()
    assert field.startswith("except")
    assert reason in messages[0]


@pytest.mark.parametrize("rule", [{}, {"cron": "0 9 * * *", "ends_at": "2026-02-26T23:00:00Z"}])
def test_a_schedule_that_would_never_run_is_refused(
    alice: ApiClient, time: list[datetime], rule: dict[str, Any]
) -> None:
    response = alice.post(LIST, {"name": "x", "except": ["2026-02-25/2026-02-26"], **rule})
    assert response.status_code == 400
    assert "would never run" in response.json()["errors"]["except"][0]


def test_a_calendar_of_the_schedules_organization_is_used(alice: ApiClient, time: list[datetime]) -> None:
    alice.post(f"{LIST}calendars/", {"name": "holidays", "dates": [TOMORROW]})
    schedule = create(alice, cron="0 9 * * *", **{"except": ["holidays", "2026-02-27"]})
    assert expanded(alice, schedule, "next_run_at")["next_run_at"] == "2026-02-28T09:00:00Z"
    at_hours(time, 21, 45, 69)
    assert rows(schedule) == [(21, 2, State.SKIPPED, "excluded"), (69, 1, State.PENDING, "")]


def test_a_changed_calendar_takes_effect_at_once(alice: ApiClient, time: list[datetime]) -> None:
    alice.post(f"{LIST}calendars/", {"name": "holidays", "dates": []})
    schedule = create(alice, cron="0 9 * * *", **{"except": ["holidays"]})
    assert expanded(alice, schedule, "next_run_at")["next_run_at"] == "2026-02-26T09:00:00Z"
    alice.put(f"{LIST}calendars/holidays/", {"dates": [TOMORROW]})
    assert expanded(alice, schedule, "next_run_at")["next_run_at"] == "2026-02-27T09:00:00Z"
    alice.put(f"{LIST}calendars/holidays/", {"dates": []})
    at_hours(time, 21)
    assert rows(schedule) == [(21, 1, State.PENDING, "")]


def test_calendars_of_several_schedules_are_read_with_one_statement(
    alice: ApiClient, time: list[datetime], django_assert_max_num_queries: Any
) -> None:
    alice.post(f"{LIST}calendars/", {"name": "holidays", "dates": [TOMORROW]})
    for _ in range(5):
        create(alice, cron="0 9 * * *", **{"except": ["holidays"]})
    with django_assert_max_num_queries(8):
        listed = alice.get(f"{LIST}?expand=next_run_at").json()["results"]
    assert {row["next_run_at"] for row in listed} == {"2026-02-27T09:00:00Z"}


def test_the_ledger_of_a_schedule_with_exceptions_is_complete(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, **HOURLY, **{"except": [TOMORROW]})
    at_hours(time, *range(1, 39))
    assert list(Verification(stored(str(schedule.uuid))).differences()) == []
