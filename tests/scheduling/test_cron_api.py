"""`cron` in requests and in answers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import pytest
from django.test import Client

from scheduling.models import TimezoneType
from scheduling.recurrence import slots
from tests.admin import make_operator, page_of
from tests.api import ApiClient
from tests.factories import make_schedule
from tests.scheduling.schedules import LIST, change, create, detail, expanded, fired, run

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    "cron",
    [
        "30 9 * * MON",
        "30\t9 *  *\tmon",
        "@Weekly",
        "0 22-2 ? * FRI-MON",
        "H H(0-5) L-3,15W,LW * 5L,1#2",
        "TZ=Europe/Berlin 0 9 * * *",
        ["0 9 * * *"],
        ["0 9 * * MON-FRI", "0 11 * * SAT"],
    ],
)
def test_get_shows_the_cron_that_was_given(alice: ApiClient, cron: object) -> None:
    schedule = create(alice, cron=cron)
    assert alice.get(detail(str(schedule.uuid))).json()["cron"] == cron
    schedule = create(alice)
    assert change(alice, schedule, cron=cron).json()["cron"] == cron
    assert change(alice, schedule, name="other").json()["cron"] == cron
    (listed, _) = alice.get(LIST).json()["results"]
    assert listed["cron"] == cron


@pytest.mark.parametrize("cron", [None, "", "  ", []])
def test_null_and_an_empty_cron_mean_no_expression(alice: ApiClient, cron: object) -> None:
    schedule = create(alice, cron="0 9 * * *", execution_frequency=60)
    assert change(alice, schedule, cron=cron).json()["cron"] is None
    assert create(alice, cron=cron, execution_frequency=60).cron == ""


def test_spaces_around_an_expression_are_removed(alice: ApiClient) -> None:
    schedule = create(alice, cron=[" 0 9 * * *\n", "\t0 17 * * *"])
    assert alice.get(detail(str(schedule.uuid))).json()["cron"] == ["0 9 * * *", "0 17 * * *"]


@pytest.mark.parametrize(
    ("cron", "message"),
    [
        (5, "Must be a string or an array of strings."),
        ({}, "Must be a string or an array of strings."),
        ([["0 9 * * *"]], "Must be a string or an array of strings."),
        (["0 9 * * *", None], "Must be a string or an array of strings."),
        (["0 9 * * *", " "], "Expression 2 is empty."),
        (["0 9 * * *"] * 17, "There may be 16 expressions at most."),
        ("0 9 * * *\n0 17 * * *", "An expression is one line. Give several expressions as an array."),
        (["0 9 * * *\n0 17 * * *"], "An expression is one line. Give several expressions as an array."),
        ("0 9 * * *\r0 17 * * *", "Character 10: character U+000D is not allowed in a cron expression."),
        ("0 9 * * * " * 40, "A cron expression has at most 255 characters, not 399."),
        (["0 9 * * *", "0 24 * * *"], "Expression 2, hour field, character 3: 24 is not between 0 and 23."),
        ("0 0 9 * * *", "Character 11: 5 fields are needed (minute, hour, "),
        ("*/90 * * * *", "Minute field, character 3: a step is at most 60 here; for a period of 5,400"),
        ("@reboot", "Character 1: @reboot has no meaning here. Leave out cron"),
        (["0 9 * * *", "@every 5m"], "Expression 2, character 1: @every stands for a period"),
        ("@every 5M", "Character 8: '5M' is not a duration like 5m, 90s or 1h30m; its units are h, m and s."),
        ("TZ=Mars/Olympus 0 9 * * *", "Character 4: 'Mars/Olympus' is not a time zone"),
        (
            ["TZ=Asia/Tokyo 0 9 * * *", "0 17 * * *"],
            "Expression 2, character 1: all expressions need the same TZ= prefix.",
        ),
    ],
)
def test_a_wrong_cron_is_refused_on_creation_and_on_change(alice: ApiClient, cron: object, message: str) -> None:
    schedule = create(alice, cron="0 9 * * *")
    for response in (alice.post(LIST, {"name": "x", "cron": cron}), change(alice, schedule, cron=cron)):
        assert response.status_code == 400
        answer = response.json()
        assert answer["detail"].startswith(message)
        assert (answer["code"], answer["errors"]) == ("params_validation_error", {"cron": [answer["detail"]]})


def test_several_expressions_run_once_at_each_time_that_any_of_them_matches(
    alice: ApiClient, time: list[datetime]
) -> None:
    schedule = create(alice, cron=["*/2 * * * *", "*/3 * * * *", "1 12 * * *"])
    run(time, 0, 1, 2, 3, 4, 5, 6)
    assert fired(schedule) == [1, 2, 3, 4, 6]


def test_a_zone_prefix_sets_the_timezone(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, cron="CRON_TZ=asia/tokyo 0 9 * * *")
    assert (schedule.timezone_type, schedule.timezone) == (TimezoneType.CUSTOM, "Asia/Tokyo")
    assert schedule.next_run_at == datetime(2026, 2, 26, 0, 0, tzinfo=UTC)
    assert expanded(alice, schedule, "timezone") == {"timezone": "Asia/Tokyo"}
    change(alice, schedule, cron="TZ=Europe/Berlin 0 9 * * *")
    assert (schedule.timezone, schedule.next_run_at) == ("Europe/Berlin", datetime(2026, 2, 26, 8, 0, tzinfo=UTC))


def test_the_cron_that_get_shows_can_be_put_back(alice: ApiClient) -> None:
    schedule = create(alice, cron=["TZ=Asia/Tokyo 0 9 * * *", "TZ=Asia/Tokyo 0 17 * * *"], payload={"a": 1})
    shown = alice.get(detail(str(schedule.uuid))).json()
    del shown["uuid"]
    assert change(alice, schedule, **shown).json() == {"uuid": str(schedule.uuid), **shown}


@pytest.mark.parametrize(
    "fields",
    [
        {"timezone": "Asia/Tokyo"},
        {"timezone": "asia/tokyo", "timezone_type": "custom_timezone"},
        {"timezone": "", "timezone_type": "custom_timezone"},
        {"timezone": None},
    ],
)
def test_a_zone_may_be_given_twice_if_it_is_the_same(alice: ApiClient, fields: dict[str, Any]) -> None:
    assert create(alice, cron="TZ=Asia/Tokyo 0 9 * * *", **fields).timezone == "Asia/Tokyo"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"timezone": "Asia/Seoul"}, "TZ=Asia/Tokyo contradicts timezone Asia/Seoul: leave one of them out."),
        ({"timezone_type": "organization_timezone"},
         "TZ=Asia/Tokyo contradicts timezone_type organization_timezone: leave one of them out."),
    ],
)  # fmt: skip
def test_two_zones_are_refused(alice: ApiClient, fields: dict[str, Any], message: str) -> None:
    response = alice.post(LIST, {"name": "x", "cron": "TZ=Asia/Tokyo 0 9 * * *", **fields})
    assert response.status_code == 400
    assert response.json()["errors"] == {"cron": [message]}


@pytest.mark.parametrize("fields", [{"timezone": "Asia/Seoul"}, {"timezone_type": "organization_timezone"}])
def test_the_zone_of_an_expression_changes_only_with_the_expression(alice: ApiClient, fields: dict[str, Any]) -> None:
    schedule = create(alice, cron="TZ=Asia/Tokyo 0 9 * * *")
    response = change(alice, schedule, **fields)
    assert response.status_code == 400
    message = "The schedule's cron says TZ=Asia/Tokyo: to change the zone, change cron too."
    assert response.json()["errors"] == {"cron": [message]}
    assert change(alice, schedule, cron="0 9 * * *", **fields).status_code == 200


def test_every_sets_a_period(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, cron="@every 1h30m")
    answer = alice.get(detail(str(schedule.uuid))).json()
    assert (answer["cron"], answer["execution_frequency"]) == (None, 5400)
    assert schedule.next_run_at == time[0] + timedelta(minutes=90)
    answer = change(alice, create(alice, cron="0 9 * * *"), cron=["@every 5m"]).json()
    assert (answer["cron"], answer["execution_frequency"]) == (None, 300)


def test_every_is_converted_to_the_unit_of_the_server(alice: ApiClient, settings: Any) -> None:
    settings.FREQUENCY_UNIT = timedelta(minutes=1)
    assert create(alice, cron="@every 1h30m").execution_frequency == 90
    response = alice.post(LIST, {"name": "x", "cron": "@every 90s"})
    message = "This server counts periods in whole minutes: leave out the seconds."
    assert response.json()["errors"] == {"cron": [message]}


def test_every_may_not_contradict_the_frequency(alice: ApiClient) -> None:
    assert create(alice, cron="@every 5m", execution_frequency=300).execution_frequency == 300
    assert create(alice, cron="@every 5m", execution_frequency=0).execution_frequency == 300
    response = alice.post(LIST, {"name": "x", "cron": "@every 5m", "execution_frequency": 60})
    assert response.status_code == 400
    message = "@every contradicts execution_frequency, which would be 300: leave one of them out."
    assert response.json()["errors"] == {"cron": [message]}
    schedule = create(alice, execution_frequency=60)
    assert change(alice, schedule, cron="@every 5m").json()["execution_frequency"] == 300


def test_a_schedule_with_hashed_values_keeps_its_times(alice: ApiClient) -> None:
    schedule = create(alice, cron="H H * * *")
    found = list(islice(slots(schedule.recurrence, after=schedule.effective_from), 3))
    assert schedule.next_run_at == found[0]
    assert found[1] - found[0] == timedelta(days=1)
    change(alice, schedule, name="another name", payload={"a": 1})
    assert list(islice(slots(schedule.recurrence, after=schedule.effective_from), 3)) == found
    others = {create(alice, cron="H H * * *").next_run_at for _ in range(5)}
    assert len(others) > 1


def test_the_dispatcher_runs_a_schedule_at_its_hashed_time(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, cron="H/5 * * * *")
    (minute,) = {slot.minute % 5 for slot in islice(slots(schedule.recurrence, after=time[0]), 20)}
    run(time, *range(16))
    assert [at % 5 for at in fired(schedule)] == [minute] * 3


def test_the_admin_shows_each_expression_on_its_own_line() -> None:
    operator: Client = make_operator(is_superuser=True)
    schedule = make_schedule(cron="0 9 * * MON-FRI\n0 11 * * SAT\n", execution_frequency=0)
    shown = operator.get(page_of(schedule)).content.decode()
    assert "0 9 * * MON-FRI" in shown
    assert "0 11 * * SAT" in shown
    listed = operator.get("/admin/scheduling/scheduledexecution/").content.decode()
    assert "0 9 * * MON-FRI | 0 11 * * SAT" in listed
