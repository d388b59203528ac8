"""`preview/` and `next/`: when a schedule would run, and when it will."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from scheduling.models import ScheduledExecution
from tests.api import ApiClient, make_caller
from tests.scheduling.schedules import LIST, MINUTE, NOON, at, change, create, expanded, run

pytestmark = pytest.mark.django_db

PREVIEW = f"{LIST}preview/"


def preview(client: ApiClient, **body: Any) -> dict[str, Any]:
    response = client.post(PREVIEW, body)
    assert response.status_code == 200, response.content
    answer: dict[str, Any] = response.json()
    return answer


def upcoming(client: ApiClient, schedule: ScheduledExecution, query: str = "") -> list[str]:
    response = client.get(f"{LIST}{schedule.uuid}/next/{query}")
    assert response.status_code == 200, response.content
    return [slot["due_at"] for slot in response.json()["slots"]]


def test_a_preview_shows_the_rule_in_words_and_its_slots(alice: ApiClient, time: list[datetime]) -> None:
    assert preview(alice, cron="0 9 * * MON-FRI", timezone="Europe/Berlin", count=2) == {
        "text": "At 09:00, Monday to Friday",
        "timezone": "Europe/Berlin",
        "slots": [
            {"due_at": "2026-02-26T08:00:00Z", "local": "2026-02-26T09:00:00+01:00", "note": None},
            {"due_at": "2026-02-27T08:00:00Z", "local": "2026-02-27T09:00:00+01:00", "note": None},
        ],
    }


def test_a_preview_stores_nothing(alice: ApiClient) -> None:
    preview(alice, name="report", cron="0 9 * * *")
    assert not ScheduledExecution.objects.exists()


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"cron": "30 2 * * *", "from": "2026-03-28T12:00:00Z"}, [("2026-03-29T03:00:00+02:00", "after_gap")]),
        ({"cron": "30 2 * * *", "from": "2026-10-24T12:00:00Z"}, [("2026-10-25T02:30:00+02:00", "first_of_two")]),
        (
            {"cron": "30 2 * * *", "from": "2026-10-24T12:00:00Z", "dst_overlap": "both", "count": 3},
            [
                ("2026-10-25T02:30:00+02:00", "first_of_two"),
                ("2026-10-25T02:30:00+01:00", "second_of_two"),
                ("2026-10-26T02:30:00+01:00", None),
            ],
        ),
        (
            {"cron": "0,30 2,3 * * *", "from": "2026-03-28T12:00:00Z", "count": 2},
            [("2026-03-29T03:00:00+02:00", None), ("2026-03-29T03:30:00+02:00", None)],
        ),
        (
            {"every": {"days": 1, "at": "02:30"}, "from": "2026-03-28T12:00:00Z", "count": 2},
            [("2026-03-29T03:00:00+02:00", "after_gap"), ("2026-03-30T02:30:00+02:00", None)],
        ),
        ({"execution_frequency": 3600, "from": at(0)}, [("2026-02-25T14:00:00+01:00", None)]),
    ],
)
def test_slots_at_clock_changes_have_a_note(
    alice: ApiClient, time: list[datetime], body: dict[str, Any], expected: list[tuple[str, str | None]]
) -> None:
    slots = preview(alice, **{"timezone": "Europe/Berlin", "count": 1, **body})["slots"]
    assert [(slot["local"], slot["note"]) for slot in slots] == expected


def test_a_preview_lists_no_more_runs_than_the_repeats_and_the_window_allow(
    alice: ApiClient, time: list[datetime]
) -> None:
    assert len(preview(alice, execution_frequency=60)["slots"]) == 10
    assert len(preview(alice, execution_frequency=60, count=100)["slots"]) == 100
    assert len(preview(alice, execution_frequency=60, repeats=3)["slots"]) == 3
    assert len(preview(alice, execution_frequency=60, ends_at=at(4.5))["slots"]) == 4
    starts = preview(alice, execution_frequency=60, starts_at=at(7), count=1)["slots"]
    assert [slot["due_at"] for slot in starts] == [at(7)]


def test_a_preview_without_a_rule_shows_the_single_run(alice: ApiClient, time: list[datetime]) -> None:
    answer = preview(alice)
    assert (answer["text"], [slot["due_at"] for slot in answer["slots"]]) == ("Once, on 2026-02-25 at 12:00", [at(0)])


def test_the_text_is_in_the_language_that_the_caller_prefers(alice: ApiClient) -> None:
    response = alice.post(PREVIEW, {"cron": "0 9 * * 1-5"}, headers={"Accept-Language": "es-MX, en;q=0.5"})
    assert response.json()["text"] == "A las 09:00, de lunes a viernes"
    assert response["Content-Language"] == "es"
    assert "Accept-Language" in response["Vary"]
    assert preview(alice, cron="0 9 * * 1-5")["text"] == "At 09:00, Monday to Friday"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"cron": "0 0 30 2 *"}, "cron"),
        ({"cron": "0 9 * * *", "count": 0}, "count"),
        ({"cron": "0 9 * * *", "count": 101}, "count"),
        ({"cron": "0 9 * * *", "count": "5"}, "count"),
        ({"cron": "0 9 * * *", "from": "today"}, "from"),
        ({"expression": "0 9 * * *"}, "expression"),
        ({"ends_at": at(-1)}, "ends_at"),
        ({"repeats": 0}, "repeats"),
    ],
)
def test_a_preview_refuses_what_creation_refuses(
    alice: ApiClient, time: list[datetime], body: dict[str, Any], field: str
) -> None:
    response = alice.post(PREVIEW, body)
    assert response.status_code == 400
    assert list(response.json()["errors"]) == [field]


def test_a_preview_needs_a_caller(alice: ApiClient) -> None:
    assert alice.post(PREVIEW, {}, key=None).status_code == 401
    assert alice.post(PREVIEW, {}, token=None).json()["code"] == "missing_token_or_command"
    mallory = ApiClient(make_caller())
    body = {"command_uuid": str(alice.caller.command.uuid)}
    assert mallory.post(PREVIEW, body, token=None).json()["code"] == "invalid_command_specified"


def test_next_lists_the_slots_of_a_stored_schedule(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, execution_frequency=60)
    run(time, 1)
    assert upcoming(alice, schedule, "?count=2") == [at(2), at(3)]
    assert upcoming(alice, schedule, f"?count=1&from={at(10)}") == [at(10)]
    assert len(upcoming(alice, schedule)) == 10
    assert len(upcoming(alice, schedule, "?count=5000")) == 100


def test_next_lists_no_more_than_the_repeats_that_are_left(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, execution_frequency=60, repeats=3)
    run(time, 1)
    assert upcoming(alice, schedule) == [at(2), at(3)]


def test_next_lists_a_late_run_first(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, execution_frequency=60)
    time[0] = NOON + 3 * MINUTE
    assert upcoming(alice, schedule, "?count=1") == [at(1)]


def test_an_inactive_schedule_has_no_next_slot_but_a_text(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, execution_frequency=60)
    change(alice, schedule, is_active=False)
    answer = alice.get(f"{LIST}{schedule.uuid}/next/").json()
    assert answer == {"text": "Every minute", "timezone": "UTC", "slots": []}


def test_next_shows_a_hashed_expression_with_the_values_of_the_schedule(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, cron="H H * * *")
    assert schedule.next_run_at is not None
    answer = alice.get(f"{LIST}{schedule.uuid}/next/?count=1").json()
    assert answer["text"] == f"At {schedule.next_run_at:%H:%M}"


def test_next_of_a_stranger_is_not_found_and_needs_a_key(alice: ApiClient) -> None:
    schedule = create(alice, cron="0 9 * * *")
    path = f"{LIST}{schedule.uuid}/next/"
    assert ApiClient(make_caller()).get(path).status_code == 404
    assert alice.get(path, key=None).status_code == 401
    assert alice.get(f"{LIST}nonsense/next/").status_code == 404
    assert alice.get(f"{path}?counter=1").json()["code"] == "unknown_parameter"
    assert alice.get(f"{path}?count=x").status_code == 400


def test_the_text_can_be_asked_for_with_a_schedule(alice: ApiClient) -> None:
    schedule = create(alice, cron="0 9 * * 1-5")
    assert expanded(alice, schedule, "timing_text") == {"timing_text": "At 09:00, Monday to Friday"}
    spanish = {"Accept-Language": "es"}
    answer = alice.get(f"{LIST}?expand=timing_text", headers=spanish).json()["results"][0]
    assert answer["timing_text"] == "A las 09:00, de lunes a viernes"


def test_a_rule_that_can_no_longer_be_read_has_no_text(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, cron="0 9 * * *")
    ScheduledExecution.objects.update(cron="0 9 * * NEVER")
    assert expanded(alice, schedule, "timing_text") == {"timing_text": None}
    assert alice.get(f"{LIST}{schedule.uuid}/next/").status_code == 400
