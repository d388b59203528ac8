"""Helpers that create and change schedules over HTTP, and read how their slots ended."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from deliveries.models import Delivery, State
from scheduling import dispatch
from scheduling.models import ScheduledExecution
from tests.api import ApiClient

LIST = "/v1/platform/scheduling/"
URL = "http://127.0.0.1:8099/callback"
KEYS = [
    "uuid", "name", "timezone_type", "is_active", "cron", "execution_frequency", "repeats", "payload", "callback_url",
]  # fmt: skip
ABSENT = "8f2e6a38-53c1-4f3c-9a51-0d6f4b6a1c11"
NOON = datetime(2026, 2, 25, 12, 0, tzinfo=UTC)
JUST_AFTER_NOON = NOON + timedelta(milliseconds=250)
MINUTE = timedelta(minutes=1)


def create_uuid(client: ApiClient, **body: Any) -> str:
    response = client.post(LIST, {"name": "report", **body})
    assert response.status_code == 200, response.content
    assert list(response.json()) == ["uuid"]
    return str(response.json()["uuid"])


def create(client: ApiClient, **body: Any) -> ScheduledExecution:
    return stored(create_uuid(client, **body))


def stored(uuid: str) -> ScheduledExecution:
    return ScheduledExecution.objects.get(uuid=uuid)


def detail(uuid: str) -> str:
    return f"{LIST}{uuid}/"


def change(client: ApiClient, schedule: ScheduledExecution, **body: Any) -> Any:
    response = client.put(f"{LIST}{schedule.uuid}/", body)
    schedule.refresh_from_db()
    return response


def expanded(client: ApiClient, schedule: ScheduledExecution, *names: str) -> dict[str, Any]:
    answer = client.get(f"{LIST}{schedule.uuid}/?expand={','.join(names)}").json()
    return {name: answer[name] for name in names}


def run(time: list[datetime], *minutes: float) -> None:
    """Dispatches at these minutes after noon."""
    for minute in minutes:
        time[0] = NOON + minute * MINUTE
        dispatch.dispatch_due()


def at(minute: float) -> str:
    return (NOON + minute * MINUTE).isoformat().replace("+00:00", "Z")


def rows_of(schedule: ScheduledExecution) -> list[Delivery]:
    return list(schedule.slots())


def fired(schedule: ScheduledExecution) -> list[float]:
    """Returns the slots that fired, as minutes after noon."""
    return [(row.due_at - NOON) / MINUTE for row in schedule.slots() if row.state == State.PENDING]


def skipped(schedule: ScheduledExecution) -> list[tuple[float, float, int, str]]:
    """Returns the first and last minute after noon, the count and the reason of each row of skipped slots."""
    return [
        ((row.due_at - NOON) / MINUTE, ((row.last_due_at or row.due_at) - NOON) / MINUTE, row.slot_count, row.reason)
        for row in schedule.slots()
        if row.state == State.SKIPPED
    ]


def slots(schedule: ScheduledExecution) -> str:
    return f"/v1/platform/scheduling/{schedule.uuid}/slots/"


def slot(delivery: Delivery) -> str:
    return f"/v1/platform/scheduling/{delivery.source_uuid}/slots/{delivery.pk}/"


def redeliver(schedule: ScheduledExecution) -> str:
    return f"/v1/platform/scheduling/{schedule.uuid}/redeliver/"
