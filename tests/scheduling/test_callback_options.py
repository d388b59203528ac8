"""Headers, time limits and attempts that a schedule has of its own."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import orjson
import pytest

from deliveries.models import Reason, State
from tests.api import ApiClient
from tests.scheduling.schedules import LIST, change, create, expanded, fired, rows_of, run

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(("timeout", "max_attempts"), [(1, 1), (30, 20)])
def test_limits_and_headers_travel_with_each_slot(
    alice: ApiClient, time: list[datetime], timeout: int, max_attempts: int
) -> None:
    schedule = create(alice, timeout=timeout, max_attempts=max_attempts, headers={"X-Auth": " Bearer é "})

    run(time, 0)

    (row,) = rows_of(schedule)
    assert (row.timeout, row.max_attempts) == (timeout, max_attempts)
    assert orjson.loads(row.headers) == {"X-Auth": "Bearer é"}


def test_without_them_the_servers_own_hold(alice: ApiClient, time: list[datetime], settings: Any) -> None:
    schedule = create(alice, timeout=None, max_attempts=None, headers={})

    run(time, 0)

    (row,) = rows_of(schedule)
    assert (row.timeout, row.max_attempts) == (None, len(settings.DELIVERY_RETRY_DELAYS) + 1)
    assert row.headers == ""


def test_the_value_of_a_header_is_never_shown(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, headers={"X-Token": "secret-value", "X-A": "secret-value"})
    run(time, 0)
    (row,) = rows_of(schedule)

    answers = [
        alice.get(f"{LIST}{schedule.uuid}/?expand=headers"),
        alice.get(f"{LIST}?expand=headers"),
        alice.get(f"{LIST}{schedule.uuid}/slots/"),
        alice.get(f"{LIST}{schedule.uuid}/slots/{row.pk}/"),
        change(alice, schedule, headers={"X-Token": "secret-value", "X-B": "secret-value"}),
    ]

    assert answers[0].json()["headers"] == ["X-A", "X-Token"]
    assert {answer.status_code for answer in answers} == {200}
    assert not any(b"secret-value" in answer.content for answer in answers)


def test_new_headers_cancel_what_was_not_sent_and_new_limits_do_not(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, execution_frequency=60, headers={"X-A": "1"})
    run(time, 1)

    change(alice, schedule, timeout=3, max_attempts=2, headers={"X-A": "1"}, description="new")
    assert fired(schedule) == [1]
    change(alice, schedule, headers={"X-A": "2"})

    assert [(row.state, row.reason) for row in rows_of(schedule)] == [(State.CANCELLED, Reason.SCHEDULE_CHANGED)]
    assert expanded(alice, schedule, "timeout", "max_attempts") == {"timeout": 3, "max_attempts": 2}
