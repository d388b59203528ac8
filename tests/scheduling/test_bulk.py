"""`bulk/`: many schedules in one transaction."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from audit.models import Change
from scheduling.models import ScheduledExecution
from tests.api import ApiClient, make_caller
from tests.scheduling.schedules import LIST, create

pytestmark = pytest.mark.django_db

BULK = f"{LIST}bulk/"
DAILY: dict[str, Any] = {"name": "daily", "cron": "0 9 * * *"}


def test_all_schedules_are_created_in_their_order(alice: ApiClient, time: list[datetime]) -> None:
    bodies = [{**DAILY, "name": str(number), "payload": {"n": number}} for number in range(20)]
    response = alice.post(BULK, {"schedules": bodies})
    assert response.status_code == 200
    stored = {str(each.uuid): each for each in ScheduledExecution.objects.all()}
    found = [stored[result["uuid"]] for result in response.json()["results"]]
    assert [(each.name, each.payload) for each in found] == [(str(n), {"n": n}) for n in range(20)]
    assert {each.next_run_at for each in found} == {create(alice, **DAILY).next_run_at}
    assert all(each.owner == alice.caller.user for each in found)
    assert Change.objects.filter(object_uuid__in=stored).count() == 20


def test_a_thousand_schedules_fit_into_one_request(alice: ApiClient) -> None:
    response = alice.post(BULK, {"schedules": [DAILY] * 1000})
    assert response.status_code == 200
    assert ScheduledExecution.objects.count() == len(response.json()["results"]) == 1000


def test_none_is_created_if_any_is_wrong(alice: ApiClient) -> None:
    bodies = [DAILY, {"cron": "0 9 * * *"}, {**DAILY, "payload": []}, DAILY]
    response = alice.post(BULK, {"schedules": bodies})
    assert response.status_code == 400
    assert set(response.json()["errors"]) == {"1.name", "2.payload"}
    response = alice.post(BULK, {"schedules": [{**DAILY, "cron": "0 0 30 2 *"}, DAILY, {**DAILY, "repeats": 0}]})
    assert set(response.json()["errors"]) == {"0.cron", "2.repeats"}
    assert not ScheduledExecution.objects.exists()


def test_an_external_id_that_is_taken_is_named_by_index(alice: ApiClient) -> None:
    create(alice, **DAILY, external_id="a")
    bodies = [{**DAILY, "external_id": name} for name in ("a", "b", "c", "b")]
    response = alice.post(BULK, {"schedules": bodies})
    assert set(response.json()["errors"]) == {"0.external_id", "3.external_id"}
    assert ScheduledExecution.objects.count() == 1


@pytest.mark.parametrize("schedules", [[], None, {}, "x", [5], [None], [DAILY] * 1001])
def test_an_invalid_list_is_refused(alice: ApiClient, schedules: Any) -> None:
    response = alice.post(BULK, {"schedules": schedules})
    assert response.status_code == 400
    assert not ScheduledExecution.objects.exists()


def test_unknown_fields_are_named_with_their_index(alice: ApiClient) -> None:
    response = alice.post(BULK, {"schedules": [{**DAILY, "colour": 1}]})
    assert response.headers["X-Ignored-Fields"] == "schedules.0.colour"
    response = alice.post(BULK, {"schedules": [{"name": "x", "expression": "0 9 * * *"}]})
    assert response.status_code == 400


def test_commands_are_checked_by_index_and_a_key_is_needed(alice: ApiClient) -> None:
    mallory = ApiClient(make_caller())
    foreign = {**DAILY, "command_uuid": str(alice.caller.command.uuid)}
    response = mallory.post(BULK, {"schedules": [DAILY, foreign]})
    assert set(response.json()["errors"]) == {"1.command_uuid"}
    assert set(alice.post(BULK, {"schedules": [DAILY]}, token=None).json()["errors"]) == {"0.command_uuid"}
    assert alice.post(BULK, {"schedules": [foreign]}, token=None).status_code == 200
    assert alice.post(BULK, {"schedules": [DAILY]}, key=None).status_code == 401
    assert alice.post(BULK, {"schedules": [DAILY]}, token="void").json()["code"] == "missing_token"
