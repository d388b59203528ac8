"""When a new schedule runs for the first time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from commands_platform.lib import clock
from tests.api import ApiClient, make_caller
from tests.factories import make_organization
from tests.scheduling.schedules import JUST_AFTER_NOON, create_uuid, stored

pytestmark = pytest.mark.django_db


def test_the_first_run_of_a_period_is_one_period_after_creation_on_a_whole_second(alice: ApiClient) -> None:
    with clock.replaced_by(lambda: JUST_AFTER_NOON):
        schedule = stored(create_uuid(alice, execution_frequency=60))

    assert schedule.next_run_at == datetime(2026, 2, 25, 12, 1, 1, tzinfo=UTC)


def test_the_unit_of_the_frequency_can_be_minutes(alice: ApiClient, settings: Any) -> None:
    settings.FREQUENCY_UNIT = timedelta(minutes=1)
    with clock.replaced_by(lambda: JUST_AFTER_NOON):
        schedule = stored(create_uuid(alice, execution_frequency=5))

    assert schedule.next_run_at == datetime(2026, 2, 25, 12, 5, 1, tzinfo=UTC)


def test_cron_takes_precedence_over_the_frequency(alice: ApiClient) -> None:
    with clock.replaced_by(lambda: JUST_AFTER_NOON):
        schedule = stored(create_uuid(alice, execution_frequency=60, cron="0 15 * * *"))

    assert schedule.next_run_at == datetime(2026, 2, 25, 15, 0, tzinfo=UTC)


def test_a_schedule_without_cron_and_frequency_is_due_at_once(alice: ApiClient) -> None:
    with clock.replaced_by(lambda: JUST_AFTER_NOON):
        assert stored(create_uuid(alice)).next_run_at == JUST_AFTER_NOON


@pytest.mark.parametrize(
    ("body", "expected_hour"),
    [
        ({}, 14),
        ({"timezone_type": "user_timezone"}, 8),
        ({"timezone_type": "custom_timezone", "timezone": "Asia/Tokyo"}, 0),
    ],
)
def test_a_cron_expression_is_read_in_the_zone_of_the_schedule(body: dict[str, Any], expected_hour: int) -> None:
    organization = make_organization(timezone="America/New_York")
    client = ApiClient(make_caller(organization))
    client.caller.user.timezone = "Europe/Berlin"
    client.caller.user.save(update_fields=["timezone"])

    schedule = stored(create_uuid(client, cron="0 9 * * *", **body))

    assert schedule.next_run_at is not None
    assert schedule.next_run_at.hour == expected_hour
