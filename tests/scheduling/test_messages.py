"""The message about a field says how to fix the request."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from tests.api import ApiClient
from tests.scheduling.schedules import LIST, at, change, create

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("time")]


@pytest.mark.parametrize(
    ("body", "field", "way_out"),
    [
        ({"starts_at": at(2), "ends_at": at(1)}, "ends_at", "move one of them, or set one to null"),
        ({"ends_at": at(-1)}, "ends_at", "Set ends_at to an instant that is to come, or to null."),
        ({"ends_at": at(0.5), "execution_frequency": 60}, "ends_at", f"its next slot is {at(1)}, after ends_at. Set"),
        ({"cron": "* * * * *", "starts_at": "9999-12-31T23:59:59Z"}, "starts_at", "to an earlier instant."),
        ({"starts_at": "0001-01-01T00:00:00Z"}, "starts_at", "For a start at once set it to null."),
        ({"repeats": 0}, "repeats", "To create it without a run, set is_active to false."),
        ({"cron": "0 * * * * *"}, "cron", "cron_seconds: true"),
        ({"execution_frequency": 400_000_000}, "execution_frequency", "which is 315619200"),
        ({"payload": {"a": "x" * 300_000}}, "payload", "and has 300008"),
        ({"timezone_type": "custom_timezone"}, "timezone", "set timezone to an IANA name such as Europe/Berlin"),
        ({"timezone": "Berlin"}, "timezone", "Did you mean 'Europe/Berlin'?"),
        ({"timezone": "Asia/Tokio"}, "timezone", "Did you mean 'Asia/Tokyo'?"),
        ({"timezone": "America/New York"}, "timezone", "Did you mean 'America/New_York'?"),
        ({"timezone": "Mars/Olympus"}, "timezone", "Its names are like 'Europe/Berlin'."),
        ({"timezone_type": "user_timezone", "is_owned_by_user": False}, "timezone_type", "a user's exchange token"),
        ({"timezone_type": "mars"}, "timezone_type", "organization_timezone, user_timezone, custom_timezone"),
        ({"misfire_policy": "fire"}, "misfire_policy", "fire_latest, skip, fire_all"),
    ],
)  # fmt: skip
def test_the_message_says_how_to_fix_the_request(
    alice: ApiClient, body: dict[str, Any], field: str, way_out: str
) -> None:
    response = alice.post(LIST, {"name": "report", **body})

    assert response.status_code == 400
    (message,) = response.json()["errors"][field]
    assert way_out in message


def test_the_message_says_how_to_resume_a_schedule_without_repeats(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, execution_frequency=60)
    change(alice, schedule, repeats=0)

    response = change(alice, schedule, is_active=True)

    assert response.json()["errors"] == {"is_active": ["No repeats are left: set repeats too, to -1 or at least 1."]}
