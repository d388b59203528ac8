"""A schedule can have its own headers, timeout and maximum number of attempts."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import orjson
import pytest

from commands_platform.lib.encryption import decrypt_values
from deliveries.models import Delivery, Reason, State
from scheduling import run_services
from tests.api import ApiClient
from tests.scheduling.schedules import LIST, MINUTE, change, create, expanded, fired, rows_of, run

pytestmark = pytest.mark.django_db

ELSEWHERE = "http://127.0.0.1:8098/callback"
SAME_ORIGIN = "http://127.0.0.1:8099/other"


def sent_headers(row: Delivery) -> dict[str, str]:
    return decrypt_values(orjson.loads(row.headers)) if row.headers else {}


@pytest.mark.parametrize(("timeout", "max_attempts"), [(1, 1), (30, 20)])
def test_each_slot_has_the_headers_and_limits_of_its_schedule(
    alice: ApiClient, time: list[datetime], timeout: int, max_attempts: int
) -> None:
    schedule = create(alice, timeout=timeout, max_attempts=max_attempts, headers={"X-Auth": " Bearer é "})

    run(time, 0)

    (row,) = rows_of(schedule)
    assert (row.timeout, row.max_attempts) == (timeout, max_attempts)
    assert sent_headers(row) == {"X-Auth": "Bearer é"}


def test_the_limits_of_the_server_are_the_defaults(alice: ApiClient, time: list[datetime], settings: Any) -> None:
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


def test_new_headers_cancel_unsent_deliveries_but_new_limits_do_not(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, execution_frequency=60, headers={"X-A": "1"})
    run(time, 1)

    change(alice, schedule, timeout=3, max_attempts=2, headers={"X-A": "1"}, description="new")
    assert fired(schedule) == [1]
    change(alice, schedule, headers={"X-A": "2"})

    assert [(row.state, row.reason) for row in rows_of(schedule)] == [(State.CANCELLED, Reason.SCHEDULE_CHANGED)]
    assert expanded(alice, schedule, "timeout", "max_attempts") == {"timeout": 3, "max_attempts": 2}


# Headers belong to the origin that they were given for.


def test_a_url_of_another_origin_drops_the_stored_headers_and_the_answer_says_so(
    alice: ApiClient, time: list[datetime]
) -> None:
    schedule = create(alice, execution_frequency=60, headers={"X-Token": "secret-value"})

    response = change(alice, schedule, callback_url=ELSEWHERE)
    run(time, 1)

    assert response.headers["X-Ignored-Fields"] == "headers"
    assert [sent_headers(row) for row in rows_of(schedule)] == [{}]
    back = change(alice, schedule, callback_url=None)
    assert "X-Ignored-Fields" not in back.headers
    assert expanded(alice, schedule, "headers") == {"headers": []}


def test_headers_given_again_are_sent_to_the_new_origin(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, execution_frequency=60, headers={"X-Token": "secret-value"})

    response = change(alice, schedule, callback_url=ELSEWHERE, headers={"X-Token": "secret-value"})
    run(time, 1)

    assert "X-Ignored-Fields" not in response.headers
    assert [sent_headers(row) for row in rows_of(schedule)] == [{"X-Token": "secret-value"}]


@pytest.mark.parametrize("url", [SAME_ORIGIN, "HTTP://127.0.0.1:8099"])
def test_a_url_of_the_same_origin_keeps_the_headers(alice: ApiClient, time: list[datetime], url: str) -> None:
    schedule = create(alice, execution_frequency=60, headers={"X-Token": "secret-value"})

    response = change(alice, schedule, callback_url=url)
    run(time, 1)

    assert "X-Ignored-Fields" not in response.headers
    assert [sent_headers(row) for row in rows_of(schedule)] == [{"X-Token": "secret-value"}]


def test_headers_are_not_sent_after_their_command_moved_to_another_origin(
    alice: ApiClient, time: list[datetime]
) -> None:
    schedule = create(alice, execution_frequency=60, headers={"X-Token": "secret-value"})
    command = alice.caller.command
    original = command.callback_url

    for minute, url in enumerate((ELSEWHERE, SAME_ORIGIN, ELSEWHERE, original), start=1):
        command.callback_url = url
        command.save(update_fields=["callback_url"])
        run(time, minute)
        time[0] += MINUTE / 2
        run_services.run_now(schedule=schedule)

    rows = {(row.url, row.kind): sent_headers(row) for row in rows_of(schedule)}
    token = {"X-Token": "secret-value"}
    assert rows == {
        (url, kind): headers
        for url, headers in ((ELSEWHERE, {}), (SAME_ORIGIN, token), (original, token))
        for kind in ("scheduled", "manual")
    }


def test_headers_are_not_shown_as_sent_after_their_command_moved(alice: ApiClient) -> None:
    schedule = create(alice, execution_frequency=60, headers={"X-Token": "secret-value"})
    alice.caller.command.callback_url = ELSEWHERE
    alice.caller.command.save(update_fields=["callback_url"])

    assert expanded(alice, schedule, "headers") == {"headers": []}
    change(alice, schedule, headers={"X-Token": "secret-value"})
    assert expanded(alice, schedule, "headers") == {"headers": ["X-Token"]}


def test_headers_without_any_url_are_refused_with_advice(alice: ApiClient) -> None:
    alice.caller.command.callback_url = ""
    alice.caller.command.save(update_fields=["callback_url"])

    response = alice.post(LIST, {"name": "report", "headers": {"X-Token": "secret-value"}})

    assert response.status_code == 400
    assert "callback_url" in response.json()["errors"]["headers"][0]
    create(alice, headers={"X-Token": "secret-value"}, callback_url=ELSEWHERE)
