"""Somebody moves to another zone, and their schedules move with them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from commands_platform.lib import clock
from deliveries.models import Delivery
from scheduling import dispatch
from tests.api import ApiClient
from tests.scheduling.schedules import JUST_AFTER_NOON, change, create, create_uuid, stored

pytestmark = pytest.mark.django_db


def test_a_user_who_moves_moves_their_schedules(alice: ApiClient) -> None:
    alice.caller.user.timezone = "Europe/Berlin"
    alice.caller.user.save(update_fields=["timezone"])
    with clock.replaced_by(lambda: JUST_AFTER_NOON):
        uuid = create_uuid(alice, cron="0 9 * * *", timezone_type="user_timezone")
        assert stored(uuid).next_run_at == datetime(2026, 2, 26, 8, tzinfo=UTC)

        alice.caller.user.timezone = "America/New_York"
        alice.caller.user.save(update_fields=["timezone"])

        assert stored(uuid).next_run_at == datetime(2026, 2, 25, 14, tzinfo=UTC)


def test_an_organization_that_moves_moves_its_schedules_and_its_users_without_a_zone(alice: ApiClient) -> None:
    with clock.replaced_by(lambda: JUST_AFTER_NOON):
        uuids = [
            create_uuid(alice, cron="0 9 * * *"),
            create_uuid(alice, cron="0 9 * * *", timezone_type="user_timezone"),
        ]

        alice.caller.organization.timezone = "America/New_York"
        alice.caller.organization.save(update_fields=["timezone"])

        for uuid in uuids:
            assert stored(uuid).next_run_at == datetime(2026, 2, 25, 14, tzinfo=UTC)


def test_what_is_due_when_somebody_moves_is_left_to_the_dispatcher(alice: ApiClient) -> None:
    with clock.replaced_by(lambda: JUST_AFTER_NOON):
        uuid = create_uuid(alice, cron="*/5 * * * *")
    due = stored(uuid).next_run_at
    later = JUST_AFTER_NOON + timedelta(minutes=7)

    with clock.replaced_by(lambda: later):
        alice.caller.organization.timezone = "America/New_York"
        alice.caller.organization.save(update_fields=["timezone"])
        assert stored(uuid).next_run_at == due
        dispatch.dispatch_due()

    assert [row.due_at for row in Delivery.objects.of_source(stored(uuid).uuid)] == [due]


def test_a_paused_schedule_that_moves_goes_on_in_its_new_zone(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, cron="0 15 * * *", is_active=False)

    alice.caller.organization.timezone = "Asia/Kathmandu"
    alice.caller.organization.save(update_fields=["timezone"])
    schedule.refresh_from_db()
    assert schedule.is_active is False
    change(alice, schedule, is_active=True)

    assert schedule.next_run_at == datetime(2026, 2, 26, 9, 15, tzinfo=UTC)
