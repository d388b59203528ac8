"""The lists of schedules and slots: their cost, the size of a page, and their parameters."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from commands_platform.lib import clock
from commands_platform.lib.http.pagination import MAX_PAGE_BYTES
from scheduling.models import ScheduledExecution
from tests.api import ApiClient
from tests.factories import make_delivery, make_schedule
from tests.scheduling.schedules import LIST, detail

pytestmark = pytest.mark.django_db


def statements(client: ApiClient, path: str) -> list[str]:
    with CaptureQueriesContext(
        connection,
    ) as captured:
        assert client.get(path).status_code == 200
    # The first use of a key costs one more statement, which notes it.
    return [query["sql"] for query in captured if not query["sql"].startswith("UPDATE")]


def walk(client: ApiClient, path: str) -> list[dict[str, Any]]:
    """Returns the pages of a list."""
    pages = []
    while path:
        pages.append(client.get(path).json())
        path = (pages[-1]["next"] or "").removeprefix("http://testserver")
    return pages


def test_one_statement_reads_the_last_deliveries_of_a_page(alice: ApiClient) -> None:
    now = clock.now()
    latest: dict[str, str | None] = {}
    for _ in range(5):
        schedule = make_schedule(alice.caller.command)
        for age in (2, 1, -1):
            row = make_delivery(schedule.command, source_uuid=schedule.uuid, due_at=now - timedelta(hours=age))
            latest[str(schedule.uuid)] = str(row.pk) if age == 1 else latest.get(str(schedule.uuid))
    make_schedule(alice.caller.command)

    expanded = statements(alice, f"{LIST}?expand=last_delivery,command_uuid,user_uuid,timezone")
    found = alice.get(f"{LIST}?expand=last_delivery").json()["results"]

    assert len([statement for statement in expanded if "deliveries_delivery" in statement]) == 1
    # One statement each for the caller, the sizes, the rows, the clock and the deliveries.
    assert len(expanded) == 5
    assert {row["uuid"]: row["last_delivery"]["uuid"] for row in found if row["last_delivery"]} == latest
    assert [row["last_delivery"] for row in found].count(None) == 1


def test_a_field_that_is_expanded_twice_appears_once(alice: ApiClient) -> None:
    uuid = str(make_schedule(alice.caller.command).uuid)
    once = statements(alice, f"{detail(uuid)}?expand=last_delivery")

    names = ",".join(["last_delivery"] * 50)
    assert len(statements(alice, f"{detail(uuid)}?expand={names}&expand=last_delivery")) == len(once)
    assert list(alice.get(f"{detail(uuid)}?expand=timezone,{names}").json())[9:] == ["timezone", "last_delivery"]


def test_a_page_ends_before_its_payloads_exceed_the_budget(alice: ApiClient) -> None:
    payload = {"text": "x" * (200 * 1024)}
    made = [str(make_schedule(alice.caller.command, payload=payload).uuid) for _ in range(12)]

    pages = walk(alice, LIST)

    assert [len(page["results"]) for page in pages] == [5, 5, 2]
    assert [row["uuid"] for page in pages for row in page["results"]] == made[::-1]
    assert {page["count"] for page in pages} == {12}
    assert len(alice.get(LIST).content) < MAX_PAGE_BYTES + 10_000


def test_a_row_larger_than_the_budget_is_a_page_of_its_own(alice: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("commands_platform.lib.http.pagination.MAX_PAGE_BYTES", 10)
    for _ in range(3):
        make_schedule(alice.caller.command, payload={"text": "x" * 100})

    assert [len(page["results"]) for page in walk(alice, LIST)] == [1, 1, 1]


def test_a_page_of_slots_has_a_budget_too(alice: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("commands_platform.lib.http.pagination.MAX_PAGE_BYTES", 250)
    schedule = make_schedule(alice.caller.command)
    now = clock.now()
    for number in range(5):
        make_delivery(
            schedule.command, source_uuid=schedule.uuid, due_at=now + timedelta(minutes=number), url="x" * 100
        )

    pages = walk(alice, f"{detail(str(schedule.uuid))}slots/")

    assert [len(page["results"]) for page in pages] == [2, 2, 1]


@pytest.mark.parametrize(
    ("path", "name", "known"),
    [
        (f"{LIST}?limt=5", "limt", "command_uuid, cursor, deactivation_reason, expand, external_id, is_active, limit"),
        ("{slots}?limit=5&offset=3", "offset", "cursor, from, limit, order, state, to"),
    ],
)
def test_a_list_names_an_unknown_parameter(alice: ApiClient, path: str, name: str, known: str) -> None:
    schedule = make_schedule(alice.caller.command)

    response = alice.get(path.format(slots=f"{detail(str(schedule.uuid))}slots/"))

    assert response.status_code == 400
    assert response.json()["code"] == "unknown_parameter"
    assert f'"{name}"' in response.json()["detail"]
    assert known in response.json()["detail"]


@pytest.mark.parametrize("path", ["/v1/platform/activity/", "/v1/users/", "/v1/platform/scheduling/{uuid}/"])
def test_documented_paths_ignore_unknown_parameters(alice: ApiClient, path: str) -> None:
    uuid = make_schedule(alice.caller.command).uuid

    assert alice.get(path.format(uuid=uuid) + "?anything=1").status_code == 200


def test_a_stranger_sees_neither_schedules_nor_slots(alice: ApiClient, mallory: ApiClient) -> None:
    schedule: ScheduledExecution = make_schedule(alice.caller.command)
    make_delivery(schedule.command, source_uuid=schedule.uuid)

    assert mallory.get(f"{LIST}?expand=last_delivery").json()["results"] == []
    assert mallory.get(f"{detail(str(schedule.uuid))}slots/").status_code == 404
    assert mallory.get(f"{detail(str(uuid4()))}slots/").status_code == 404
