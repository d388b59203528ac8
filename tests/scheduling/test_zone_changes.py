"""When an organization or a user changes its time zone, its schedules follow."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from django.core.management import call_command

from organizations.models import Organization, User
from scheduling import dispatch, zone_moves
from scheduling.models import ScheduledExecution
from scheduling.walks import ZoneMove
from tests.api import ApiClient
from tests.factories import make_user
from tests.scheduling.schedules import MINUTE, NOON, change, create, create_uuid, fired, skipped

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("time")]

NINE_IN_NEW_YORK = datetime(2026, 2, 25, 14, tzinfo=UTC)


def move(mover: Organization | User, zone: str) -> None:
    mover.timezone = zone
    mover.save(update_fields=["timezone"])


def next_run(schedule: ScheduledExecution) -> datetime | None:
    schedule.refresh_from_db()
    return schedule.next_run_at


def test_the_schedules_of_a_user_follow_a_change_of_zone(alice: ApiClient) -> None:
    schedule = create(alice, cron="0 9 * * *", timezone_type="user_timezone")

    move(alice.caller.user, "America/New_York")
    zone_moves.follow()

    assert next_run(schedule) == NINE_IN_NEW_YORK


def test_schedules_of_an_organization_and_its_users_without_a_zone_follow_a_change(alice: ApiClient) -> None:
    schedules = [create(alice, cron="0 9 * * *"), create(alice, cron="0 9 * * *", timezone_type="user_timezone")]

    move(alice.caller.organization, "America/New_York")
    zone_moves.follow()

    assert [next_run(schedule) for schedule in schedules] == [NINE_IN_NEW_YORK] * 2


def test_schedules_in_another_zone_stay_where_they_are(alice: ApiClient, mallory: ApiClient) -> None:
    move(alice.caller.user, "Europe/Berlin")
    others = [
        create(mallory, cron="0 9 * * *"),
        create(alice, cron="0 9 * * *", timezone="Asia/Tokyo"),
        create(alice, cron="0 9 * * *", timezone_type="user_timezone"),
        create(alice, execution_frequency=60),
        create(alice, starts_at="2026-02-26T00:00:00Z"),
    ]
    before = list(ScheduledExecution.objects.order_by("id").values())

    move(alice.caller.organization, "America/New_York")
    zone_moves.follow()

    assert len(others) == len(before)
    assert list(ScheduledExecution.objects.order_by("id").values()) == before


def test_saving_a_zone_writes_one_row_and_moves_nothing_itself(alice: ApiClient) -> None:
    schedule = create(alice, cron="0 9 * * *")
    before = next_run(schedule)

    move(alice.caller.organization, "America/New_York")

    assert next_run(schedule) == before
    assert ZoneMove.objects.get().organization == alice.caller.organization


@pytest.mark.parametrize("fields", [["name"], None])
def test_saving_an_unchanged_zone_writes_nothing(alice: ApiClient, fields: list[str] | None) -> None:
    organization = Organization.objects.get(pk=alice.caller.organization.pk)
    organization.name = "Another name"
    organization.save(update_fields=fields)
    make_user(organization, timezone="Asia/Tokyo")

    assert not ZoneMove.objects.exists()


def test_a_schedule_due_before_the_walk_fires_once_and_continues_in_the_new_zone(
    alice: ApiClient, time: list[datetime]
) -> None:
    schedule = create(alice, cron="5 12 * * *")
    time[0] = NOON + 4.9 * MINUTE
    move(alice.caller.organization, "America/New_York")

    time[0] = NOON + 5 * MINUTE
    zone_moves.follow()
    dispatch.dispatch_due()
    time[0] += timedelta(seconds=3)
    zone_moves.follow()

    assert fired(schedule) == [5]
    assert next_run(schedule) == datetime(2026, 2, 25, 17, 5, tzinfo=UTC)
    assert skipped(schedule) == []


def test_a_slot_of_the_new_zone_that_passes_before_the_walk_is_not_lost(alice: ApiClient, time: list[datetime]) -> None:
    # This is 17:45 in Kathmandu.
    schedule = create(alice, cron="46 17 * * *")
    time[0] += timedelta(seconds=1)
    move(alice.caller.organization, "Asia/Kathmandu")

    time[0] = NOON + MINUTE + timedelta(seconds=2)
    zone_moves.follow()
    dispatch.dispatch_due()

    assert fired(schedule) == [1]
    assert skipped(schedule) == []


def test_slots_before_the_walk_are_neither_duplicated_nor_missed(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, cron="* * * * *", repeats=10)
    time[0] = NOON + 0.5 * MINUTE
    move(alice.caller.organization, "America/New_York")
    for minute in (1, 2):
        time[0] = NOON + minute * MINUTE
        dispatch.dispatch_due()

    time[0] = NOON + 2.5 * MINUTE
    zone_moves.follow()
    time[0] = NOON + 3 * MINUTE
    dispatch.dispatch_due()

    schedule.refresh_from_db()
    assert (fired(schedule), skipped(schedule), schedule.repeats) == ([1, 2, 3], [], 7)


def test_the_ledger_agrees_with_the_old_zone_before_the_move_and_with_the_new_one_after(
    alice: ApiClient, time: list[datetime]
) -> None:
    schedules = [create(alice, cron=f"{minute} */6 * * *") for minute in (0, 20, 40)]
    for hour in range(1, 20):
        time[0] = NOON + hour * timedelta(hours=1)
        dispatch.dispatch_due()
        if hour == 10:
            move(alice.caller.organization, "Asia/Kathmandu")
        if hour in {11, 14}:
            zone_moves.follow()

    output = StringIO()
    call_command("verify_ledger", stdout=output)
    assert output.getvalue().endswith(" 0 differences\n"), output.getvalue()
    assert all(schedule.slots().count() >= 3 for schedule in schedules)


def test_a_paused_schedule_is_resumed_in_the_new_zone(alice: ApiClient) -> None:
    schedule = create(alice, cron="0 15 * * *", is_active=False)

    move(alice.caller.organization, "Asia/Kathmandu")
    zone_moves.follow()
    schedule.refresh_from_db()
    assert schedule.is_active is False
    change(alice, schedule, is_active=True)

    assert schedule.next_run_at == datetime(2026, 2, 26, 9, 15, tzinfo=UTC)


def test_slots_of_a_pause_are_recorded_once_in_the_new_zone(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, cron="*/10 * * * *", is_active=False)
    time[0] = NOON + 35 * MINUTE
    move(alice.caller.organization, "Asia/Kathmandu")
    zone_moves.follow()
    time[0] = NOON + 55 * MINUTE
    change(alice, schedule, is_active=True)

    assert [row[:3] for row in skipped(schedule)] == [(10, 35, 4), (45, 55, 2)]


def test_a_schedule_without_a_slot_left_in_the_new_zone_is_completed(alice: ApiClient) -> None:
    schedule = create(alice, cron="0 13 25 2 *", ends_at="2026-02-25T13:30:00Z")

    move(alice.caller.organization, "America/New_York")
    zone_moves.follow()

    schedule.refresh_from_db()
    assert (schedule.is_active, schedule.deactivation_reason) == (False, "completed")


def test_the_walk_does_not_change_schedules_that_are_already_right(alice: ApiClient, time: list[datetime]) -> None:
    move(alice.caller.organization, "America/New_York")
    time[0] += timedelta(seconds=1)
    create_uuid(alice, cron="0 9 * * *")
    before = list(ScheduledExecution.objects.values())

    assert zone_moves.follow() == 0

    assert list(ScheduledExecution.objects.values()) == before
