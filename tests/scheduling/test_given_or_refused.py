"""Every given field is used, refused, or reported as ignored."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import pytest

from scheduling.models import ScheduledExecution
from tests.api import ApiClient
from tests.scheduling.schedules import LIST, create, detail, stored

pytestmark = pytest.mark.django_db

STRICT = {"Prefer": "handling=strict"}


def test_a_given_timezone_is_used_without_a_type(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, cron="0 9 * * *", timezone="Asia/Tokyo")

    assert schedule.next_run_at == datetime(2026, 2, 26, 0, 0, tzinfo=UTC)
    assert alice.get(detail(str(schedule.uuid))).json()["timezone_type"] == "custom_timezone"


def test_a_given_timezone_is_used_without_a_type_on_a_change(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, cron="0 9 * * *")

    answer = alice.patch(detail(str(schedule.uuid)), {"timezone": "Asia/Tokyo"}).json()

    assert answer["timezone_type"] == "custom_timezone"
    assert stored(str(schedule.uuid)).next_run_at == datetime(2026, 2, 26, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize("timezone_type", ["organization_timezone", "user_timezone"])
def test_a_timezone_beside_another_type_is_refused_with_advice(alice: ApiClient, timezone_type: str) -> None:
    schedule = create(alice, cron="0 9 * * *")
    given = {"timezone": "Asia/Tokyo", "timezone_type": timezone_type}

    for response in (alice.post(LIST, {"name": "x", **given}), alice.patch(detail(str(schedule.uuid)), given)):
        assert response.status_code == 400
        assert response.json()["errors"] == {
            "timezone": [f"It has no effect with timezone_type {timezone_type}: leave one of the two fields out."]
        }


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("expression", "cron"),
        ("schedule", "cron"),
        ("crontab", "cron"),
        ("interval", "execution_frequency"),
        ("frequency", "execution_frequency"),
        ("run_at", "starts_at"),
        ("when", "starts_at"),
        ("delay", "starts_at"),
        ("runAt", "starts_at"),
        ("Cron", "cron"),
        ("executionFrequency", "execution_frequency"),
        ("execution_frequncy", "execution_frequency"),
        ("start_at", "starts_at"),
        ("expresion", "cron"),
        ("cron_expression", "cron"),
        ("cronExpression", "cron"),
        ("cron-schedule", "cron"),
        ("shedule", "cron"),
        ("intervall", "execution_frequency"),
        ("interval_seconds", "execution_frequency"),
        ("period", "execution_frequency"),
        ("delaySeconds", "starts_at"),
        ("start", "starts_at"),
        ("at", "starts_at"),
        ("due_at", "starts_at"),
        ("scheduled_at", "starts_at"),
        ("schedule_at", "starts_at"),
        ("run_after", "starts_at"),
    ],
)
def test_a_misspelt_timing_never_makes_a_schedule_run_at_once(alice: ApiClient, name: str, meant: str) -> None:
    response = alice.post(LIST, {"name": "report", name: "0 9 * * *"})

    assert response.status_code == 400
    assert response.json()["errors"] == {name: [f"Unknown field. Did you mean `{meant}`?"]}
    assert not ScheduledExecution.objects.exists()


@pytest.mark.parametrize("name", ["internal", "schedule_id", "colour", "status", "never_null", "type"])
def test_other_unknown_fields_are_only_reported(alice: ApiClient, name: str) -> None:
    response = alice.post(LIST, {"name": "report", name: 1})

    assert response.status_code == 200
    assert response.headers["X-Ignored-Fields"] == name


@pytest.mark.parametrize("timing", [{"cron": "0 9 * * *"}, {"execution_frequency": 60}])
def test_a_misspelt_timing_beside_a_real_one_is_reported_as_ignored(alice: ApiClient, timing: dict[str, Any]) -> None:
    response = alice.post(LIST, {"name": "report", "expression": "0 9 * * *", "colour": "green", **timing})

    assert response.status_code == 200
    assert response.headers["X-Ignored-Fields"] == "expression, colour"


def test_a_misspelt_timing_on_a_change_is_reported_as_ignored(alice: ApiClient) -> None:
    schedule = create(alice, execution_frequency=60)

    response = alice.patch(detail(str(schedule.uuid)), {"expression": "0 9 * * *"})

    assert response.status_code == 200
    assert response.headers["X-Ignored-Fields"] == "expression"


def test_nothing_is_reported_if_all_fields_are_known(alice: ApiClient) -> None:
    response = alice.post(LIST, {"name": "report"})

    assert "X-Ignored-Fields" not in response.headers
    assert "Preference-Applied" not in response.headers


def test_unusual_names_are_escaped_in_the_header(alice: ApiClient) -> None:
    response = alice.post(LIST, {"name": "report", "é, \r\nX: 1": 1, "y" * 5000: 2})

    assert response.status_code == 200
    assert response.headers["X-Ignored-Fields"] == f"%C3%A9%2C%20%0D%0AX%3A%201, {'y' * 64}..."


def test_a_strict_request_with_an_unknown_field_gets_a_400_and_creates_nothing(alice: ApiClient) -> None:
    response = alice.post(
        LIST, {"name": "report", "cron": "0 9 * * *", "expresion": 1, "interval": 5, "foo": 1}, headers=STRICT
    )

    assert response.status_code == 400
    assert response.json()["errors"] == {
        "expresion": ["Unknown field. Did you mean `cron`?"],
        "interval": ["Unknown field. Did you mean `execution_frequency`?"],
        "foo": ["Unknown field."],
    }
    assert not ScheduledExecution.objects.exists()


def test_the_answer_confirms_that_a_request_was_handled_strictly(alice: ApiClient) -> None:
    response = alice.post(LIST, {"name": "report"}, headers=STRICT)

    assert response.status_code == 200
    assert response.headers["Preference-Applied"] == "handling=strict"


@pytest.mark.parametrize(
    ("path", "body", "ignored"),
    [
        ("/v1/platform/activity/", {"category": "a", "action": "b", "foo": 1}, "foo"),
        ("/v1/platform/event-subscription/", {"subscriptions": ["a"], "foo": 1}, "foo"),
        ("/v1/platform/events/", {"event": "a.b", "foo": 1}, "foo"),
        ("/v1/platform/storage/", {"op": "get", "params": {"key": "a", "ke": 1}, "foo": 1}, "foo, params.ke"),
        ("/v1/auth/fetch-command-exchange-token/", {"foo": 1}, "foo"),
    ],
)
def test_every_endpoint_reports_unknown_fields_and_refuses_them_from_strict_callers(
    alice: ApiClient, path: str, body: dict[str, Any], ignored: str
) -> None:
    if "auth" in path:
        body = body | {"user_uuid": str(alice.caller.user.uuid)}

    assert alice.post(path, body).headers["X-Ignored-Fields"] == ignored
    refused = alice.post(path, body, headers=STRICT)
    assert refused.status_code == 400
    assert b"Unknown field" in refused.content


@pytest.mark.parametrize("instant", ["2026-02-25T12:00:00 02:00", "2026-02-25T12:00:00+02:00"])
def test_an_unescaped_plus_in_a_query_is_understood(alice: ApiClient, instant: str) -> None:
    schedule = create(alice, execution_frequency=60)

    response = alice.get(f"{LIST}{schedule.uuid}/slots/?from={instant.replace(' ', '+')}")

    assert response.status_code == 200, response.content


def test_a_body_of_very_many_fields_is_compared_with_few_names(
    alice: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[str] = []

    def count(name: str, known: Iterable[str]) -> None:
        compared.append(name)

    monkeypatch.setattr("commands_platform.lib.http.unknown_fields.suggestion", count)

    alice.post(LIST, {"name": "report"} | {f"field{number}": 1 for number in range(10_000)})

    assert len(compared) <= 50
