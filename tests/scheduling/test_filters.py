"""Filters, search and sorting of `GET /v1/platform/scheduling/`."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from commands_platform.lib import clock
from commands_platform.lib.http.filters import MAX_FILTER_VALUES
from commands_platform.lib.instants import format_instant
from scheduling.models import DeactivationReason, ScheduledExecution
from tests.api import ApiClient
from tests.factories import make_api_key, make_command, make_schedule, make_user
from tests.scheduling.schedules import LIST

pytestmark = pytest.mark.django_db


def names(client: ApiClient, query: str, **options: Any) -> list[str]:
    response = client.get(f"{LIST}?{query}", **options)
    assert response.status_code == 200, response.content
    return [schedule["name"] for schedule in response.json()["results"]]


def refusal(client: ApiClient, query: str) -> dict[str, list[str]]:
    response = client.get(f"{LIST}?{query}")
    assert response.status_code == 400
    errors: dict[str, list[str]] = response.json()["errors"]
    return errors


@pytest.fixture
def schedules(alice: ApiClient) -> None:
    """Creates four schedules: two active ones, one that is paused and one that is completed."""
    now = clock.now()
    command = alice.caller.command
    make_schedule(command, name="Daily report", next_run_at=now + timedelta(hours=2))
    make_schedule(command, name="weekly REPORT", next_run_at=now + timedelta(hours=1))
    make_schedule(command, name="Paused", is_active=False, deactivation_reason=DeactivationReason.PAUSED)
    make_schedule(command, name="100%", is_active=False, deactivation_reason=DeactivationReason.COMPLETED)


@pytest.mark.usefixtures("schedules")
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["100%", "Paused", "weekly REPORT", "Daily report"]),
        ("is_active=true", ["weekly REPORT", "Daily report"]),
        ("is_active=False", ["100%", "Paused"]),
        ("is_active=", ["100%", "Paused", "weekly REPORT", "Daily report"]),
        ("q=report", ["weekly REPORT", "Daily report"]),
        ("q=RePoRt&limit=1", ["weekly REPORT"]),
        ("q=y r", ["weekly REPORT", "Daily report"]),
        ("q=%25", ["100%"]),
        ("q=_", []),
        ("deactivation_reason=paused", ["Paused"]),
        ("deactivation_reason=paused,completed", ["100%", "Paused"]),
        ("deactivation_reason=paused&deactivation_reason=completed", ["100%", "Paused"]),
        ("deactivation_reason=,paused,", ["Paused"]),
        ("is_active=true&q=daily", ["Daily report"]),
        ("is_active=false&q=daily", []),
        ("sort=name", ["100%", "Daily report", "Paused", "weekly REPORT"]),
        ("sort=-created_at", ["100%", "Paused", "weekly REPORT", "Daily report"]),
        ("sort=created_at", ["Daily report", "weekly REPORT", "Paused", "100%"]),
        ("sort=next_run_at&is_active=true", ["weekly REPORT", "Daily report"]),
        ("sort=-next_run_at&limit=2", ["Daily report", "weekly REPORT"]),
        ("sort=next_run_at&limit=2", ["weekly REPORT", "Daily report"]),
        ("sort=updated_at,name", ["Daily report", "weekly REPORT", "Paused", "100%"]),
        ("cursor=&limit=3", ["100%", "Paused", "weekly REPORT"]),
    ],
)
def test_filters_and_sorts_choose_the_rows_and_their_order(alice: ApiClient, query: str, expected: list[str]) -> None:
    assert names(alice, query) == expected


@pytest.mark.usefixtures("schedules")
@pytest.mark.parametrize("query", ["is_active=true", "next_run_after=2020-01-01T00:00:00Z"])
def test_schedules_in_the_order_of_their_next_runs_are_read_by_the_index(alice: ApiClient, query: str) -> None:
    with CaptureQueriesContext(connection) as captured:
        assert names(alice, f"{query}&sort=next_run_at&cursor=") == ["weekly REPORT", "Daily report"]

    (ordered,) = (each["sql"] for each in captured if "ORDER BY" in each["sql"])
    order = ordered.partition("ORDER BY ")[2]
    assert "is_active" not in order
    assert order.startswith('"scheduling_scheduledexecution"."next_run_at" ASC NULLS LAST')


@pytest.mark.usefixtures("schedules")
def test_the_next_run_can_be_limited_to_a_span_and_inactive_schedules_have_none(alice: ApiClient) -> None:
    middle = clock.now() + timedelta(minutes=90)
    with_plus = middle.astimezone(tz=None).isoformat()

    assert names(alice, f"next_run_before={quote(format_instant(middle))}") == ["weekly REPORT"]
    assert names(alice, f"next_run_after={quote(format_instant(middle))}") == ["Daily report"]
    assert names(alice, f"next_run_before={with_plus.replace('+', ' ')}") == ["weekly REPORT"]
    assert names(alice, f"next_run_before={with_plus}&next_run_after={with_plus}") == []


def test_a_manager_can_filter_by_command_and_owner(alice: ApiClient) -> None:
    other, user = make_command(alice.caller.organization), make_user(alice.caller.organization)
    make_schedule(alice.caller.command, name="a", owner=user)
    make_schedule(other, name="b")
    _, key = make_api_key(alice.caller.organization, scopes=["SCHEDULING", "MANAGE"])

    def found(query: str) -> list[str]:
        return names(alice, query, key=key, token=None)

    assert found(f"command_uuid={other.uuid}") == ["b"]
    assert found(f"command_uuid={other.uuid},{alice.caller.command.uuid}") == ["b", "a"]
    assert found(f"owner={user.uuid}") == ["a"]
    assert found(f"owner={uuid4()}") == []


def test_a_filter_never_reaches_beyond_the_caller(alice: ApiClient, mallory: ApiClient) -> None:
    make_schedule(alice.caller.command, name="secret")

    assert names(mallory, f"command_uuid={alice.caller.command.uuid}") == []
    assert names(mallory, "q=secret&cursor=") == []
    assert mallory.get(f"{LIST}?q=secret").json()["count"] == 0


def test_a_filter_needs_a_key(alice: ApiClient) -> None:
    assert alice.get(f"{LIST}?q=secret", key=None).status_code == 401


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("is_active=yes", {"is_active": ["Must be true or false."]}),
        (
            "deactivation_reason=paused,lost",
            {
                "deactivation_reason": [
                    "Must be one of completed, paused, invalid, failing, uninstalled, key_revoked, gone."
                ]
            },
        ),
        ("command_uuid=x", {"command_uuid": ["Must be a valid UUID."]}),
        (
            "sort=age",
            {"sort": ["'age' cannot be sorted by. Choose from: created_at, updated_at, name, next_run_at."]},
        ),
        (
            "next_run_after=tomorrow",
            {"next_run_after": ["Enter a valid date and time with its offset, such as 2026-02-25T12:00:00Z."]},
        ),
        ("q=" + "x" * 256, {"q": ["Ensure this field has no more than 255 characters."]}),
        ("offset=1&cursor=", {"offset": ["Give either a cursor or an offset."]}),
    ],
)
def test_a_wrong_value_is_refused_with_the_right_ones(
    alice: ApiClient, query: str, message: dict[str, list[str]]
) -> None:
    assert refusal(alice, query) == message


def test_a_filter_takes_a_limited_number_of_values(alice: ApiClient) -> None:
    values = ",".join(str(uuid4()) for _ in range(MAX_FILTER_VALUES))

    assert names(alice, f"command_uuid={values}") == []
    assert refusal(alice, f"command_uuid={values},{uuid4()}") == {"command_uuid": ["There may be 50 values at most."]}


def test_the_links_of_a_filtered_list_keep_its_filters(alice: ApiClient) -> None:
    for name in ("report 1", "other", "report 2", "report 3"):
        make_schedule(alice.caller.command, name=name)

    seen, path = [], f"{LIST}?q=report&sort=name&limit=1&cursor="
    while path:
        page = alice.get(path).json()
        seen += [row["name"] for row in page["results"]]
        path = page["next"]
        ScheduledExecution.objects.filter(name=seen[-1]).delete()

    assert seen == ["report 1", "report 2", "report 3"]
