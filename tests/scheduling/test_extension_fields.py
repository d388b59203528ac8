"""The extension fields of a schedule: their defaults, and the values that are refused."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from scheduling.models import ScheduledExecution
from tests.api import ApiClient
from tests.scheduling.schedules import LIST, at, change, create, expanded

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"starts_at": at(2), "ends_at": at(1)}, "ends_at"),
        ({"ends_at": at(-1)}, "ends_at"),
        ({"ends_at": at(0.5), "execution_frequency": 60}, "ends_at"),
        ({"cron": "0 0 1 1 *", "ends_at": at(60)}, "ends_at"),
        ({"cron": "* * * * *", "starts_at": "9999-12-31T23:59:59Z"}, "starts_at"),
        ({"starts_at": "0001-01-01T00:00:00Z", "execution_frequency": 60}, "starts_at"),
        ({"starts_at": "soon"}, "starts_at"),
        ({"starts_at": "2026-02-25T12:00:00"}, "starts_at"),
        ({"starts_at": 1772020800}, "starts_at"),
        ({"ends_at": "10000-01-01T00:00:00Z"}, "ends_at"),
        ({"misfire_policy": "fire"}, "misfire_policy"),
        ({"misfire_grace": -1}, "misfire_grace"),
        ({"misfire_grace": 2**31}, "misfire_grace"),
        ({"misfire_grace": 1.5}, "misfire_grace"),
        ({"overlap": "yes"}, "overlap"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": 31}, "timeout"),
        ({"timeout": "5"}, "timeout"),
        ({"max_attempts": 0}, "max_attempts"),
        ({"max_attempts": 21}, "max_attempts"),
        ({"max_attempts": True}, "max_attempts"),
        ({"headers": []}, "headers"),
        ({"headers": {"Host": "secret-value"}}, "headers"),
        ({"headers": {"webhook-id": "secret-value"}}, "headers"),
        ({"headers": {"X A": "secret-value"}}, "headers"),
        ({"headers": {"X-A": "secret-value\r\nX-B: 1"}}, "headers"),
        ({"headers": {"X-A": 5}}, "headers"),
        ({"headers": {"X-A": "secret-value", "x-a": "2"}}, "headers"),
        ({"headers": {f"X-{number}": "1" for number in range(33)}}, "headers"),
        ({"headers": {"X-A": "secret-value" * 700}}, "headers"),
        ({"cron": "0 * * * * *"}, "cron"),
        ({"cron": "* * * * *", "cron_seconds": True}, "cron"),
        ({"cron_seconds": 1}, "cron_seconds"),
        ({"dst_gap": "first"}, "dst_gap"),
        ({"dst_overlap": "skip"}, "dst_overlap"),
        ({"description": "x" * 2001}, "description"),
        ({"description": 5}, "description"),
    ],
)  # fmt: skip
def test_an_invalid_value_is_refused_on_creation_and_on_change(
    alice: ApiClient, time: list[datetime], body: dict[str, Any], field: str
) -> None:
    created = alice.post(LIST, {"name": "report", **body})
    assert not ScheduledExecution.objects.exists()
    schedule = create(alice, execution_frequency=60)
    before = ScheduledExecution.objects.values().get()
    # The change also sets the frequency to 0, so that both requests describe the same schedule.
    changed = change(alice, schedule, **({"execution_frequency": 0} | body))

    for response in (created, changed):
        assert response.status_code == 400
        assert response.json()["code"] == "params_validation_error"
        assert list(response.json()["errors"]) == [field]
        assert b"secret-value" not in response.content
    assert ScheduledExecution.objects.values().get() == before


def test_every_extension_has_its_documented_name_and_default(alice: ApiClient, time: list[datetime]) -> None:
    defaults = {
        "description": "",
        "cron_seconds": False,
        "dst_gap": "run_after",
        "dst_overlap": "first",
        "starts_at": None,
        "ends_at": None,
        "misfire_policy": "fire_latest",
        "misfire_grace": 5,
        "overlap": "allow",
        "timeout": None,
        "max_attempts": None,
        "headers": [],
        "deactivation_reason": None,
        "last_delivery": None,
    }

    assert expanded(alice, create(alice), *defaults) == defaults


def test_a_description_is_stored_unchanged(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, description="Two\nlines, and \u200b more")

    assert expanded(alice, schedule, "description") == {"description": "Two\nlines, and \u200b more"}
    change(alice, schedule, description=None)
    assert expanded(alice, schedule, "description") == {"description": ""}
