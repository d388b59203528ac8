"""Nonsense that is sent to the slots of a schedule gets clear errors."""

from __future__ import annotations

import pytest

from scheduling.models import ScheduledExecution
from tests.api import ApiClient
from tests.factories import make_delivery, make_schedule
from tests.lib.hostile import HOSTILE_BODIES, HOSTILE_PATH_SEGMENTS, HOSTILE_QUERIES
from tests.scheduling.schedules import redeliver, slot, slots

pytestmark = pytest.mark.django_db


@pytest.fixture
def schedule(alice: ApiClient) -> ScheduledExecution:
    return make_schedule(alice.caller.command)


@pytest.mark.parametrize("name", HOSTILE_BODIES)
def test_a_hostile_body_gets_a_clear_error(alice: ApiClient, schedule: ScheduledExecution, name: str) -> None:
    for path in (redeliver(schedule), f"{slot(make_delivery(schedule.command, source_uuid=schedule.uuid))}redeliver/"):
        response = alice.request("POST", path, raw=HOSTILE_BODIES[name])

        assert response.status_code < 500
        assert set(response.json()) >= {"detail", "code"} or response.status_code == 200


@pytest.mark.parametrize("query", HOSTILE_QUERIES)
def test_a_hostile_query_gets_a_clear_answer(alice: ApiClient, schedule: ScheduledExecution, query: str) -> None:
    for name in ("", "from=", "to=", "state=", "cursor="):
        response = alice.get(f"{slots(schedule)}?{name}{query}")

        assert response.status_code in {200, 400}
        assert response.json()


@pytest.mark.parametrize("segment", HOSTILE_PATH_SEGMENTS)
def test_a_hostile_path_gets_a_clear_answer(alice: ApiClient, schedule: ScheduledExecution, segment: str) -> None:
    for path in (f"/v1/platform/scheduling/{segment}/slots/", f"{slots(schedule)}{segment}/"):
        response = alice.get(path)

        assert response.status_code in {400, 404}
        assert "detail" in response.json()
