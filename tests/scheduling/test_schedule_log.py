"""The log says what happens to schedules, and contains no payloads or callback URLs."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from scheduling import schedule_log
from scheduling.models import DeactivationReason
from scheduling.schedule_log import log_completed, log_deactivated
from tests.api import ApiClient
from tests.factories import make_schedule

pytestmark = pytest.mark.django_db(transaction=True)

SCHEDULES = "/v1/platform/scheduling/"


class Ended:
    """The part of an ended schedule that the log needs."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.uuid = uuid4()


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Any:
    """Returns a function that lists the logged events so far."""
    caplog.set_level("INFO")

    def logged() -> list[dict[str, Any]]:
        lines: list[Any] = [record.msg for record in caplog.records if record.name == schedule_log.__name__]
        return lines

    return logged


def test_each_step_in_the_life_of_a_schedule_is_logged_with_its_name(alice: ApiClient, lines: Any) -> None:
    body = {
        "name": "greeting",
        "execution_frequency": 3600,
        "payload": {"secret": "hush-hush"},
        "callback_url": "http://127.0.0.1:29999/secret-path",
    }
    uuid = alice.post(SCHEDULES, body).json()["uuid"]
    alice.put(f"{SCHEDULES}{uuid}/", {"is_active": False, "payload": {"secret": "another"}})
    alice.delete(f"{SCHEDULES}{uuid}/")

    logged = lines()
    assert [line["event"] for line in logged] == ["schedule_created", "schedule_paused", "schedule_deleted"]
    assert {(line["schedule"], line["schedule_uuid"]) for line in logged} == {("greeting", uuid)}
    assert logged[0]["next_run_at"].endswith("Z")
    assert (logged[1]["fields"], logged[1].get("next_run_at")) == ("payload", None)
    for secret in ("hush-hush", "another", "secret-path"):
        assert secret not in str(logged)


def test_the_log_distinguishes_resuming_from_changing_a_schedule(alice: ApiClient, lines: Any) -> None:
    uuid = alice.post(SCHEDULES, {"name": "greeting", "execution_frequency": 3600, "is_active": False}).json()["uuid"]
    alice.put(f"{SCHEDULES}{uuid}/", {"is_active": True})
    alice.put(f"{SCHEDULES}{uuid}/", {"repeats": 7})

    logged = [(line["event"], line.get("fields"), bool(line.get("next_run_at"))) for line in lines()]
    assert logged == [
        ("schedule_created", None, False),
        ("schedule_resumed", None, True),
        ("schedule_changed", "repeats", True),
    ]


def test_a_refused_schedule_is_not_logged(alice: ApiClient, lines: Any) -> None:
    assert alice.post(SCHEDULES, {"name": "greeting", "cron": "nonsense"}).status_code == 400

    assert lines() == []


def test_only_the_number_is_logged_if_many_schedules_end_together(lines: Any) -> None:
    log_completed([Ended("one"), Ended("two")])
    log_completed([Ended(f"number {number}") for number in range(100)])

    assert [(line["event"], line.get("schedule"), line.get("count")) for line in lines()] == [
        ("schedule_completed", "one", None),
        ("schedule_completed", "two", None),
        ("schedules_completed", None, 100),
    ]


def test_a_deactivated_schedule_is_logged_as_a_warning_with_the_reason(lines: Any) -> None:
    schedule = make_schedule(name="greeting")
    herd = [Ended(f"number {number}") for number in range(20)]

    log_deactivated([schedule], DeactivationReason.FAILING, failures=30)
    log_deactivated(herd, DeactivationReason.INVALID)

    logged = lines()
    assert (logged[0]["schedule"], logged[0]["reason"], logged[0]["failures"]) == ("greeting", "failing", 30)
    assert {line["level"] for line in logged} == {"warning"}
    assert len(logged) == 7
    assert logged[-1]["count"] == 15
