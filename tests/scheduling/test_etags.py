"""`ETag` and `If-Match` of schedules."""

from __future__ import annotations

from functools import partial

import pytest
from django.db import transaction

from scheduling.models import ScheduledExecution
from tests.api import ApiClient, ApiResponse
from tests.factories import make_schedule
from tests.locks import wait_for_waiters
from tests.scheduling.schedules import LIST, detail
from tests.threads import Threads

pytestmark = pytest.mark.django_db

WRITES = ["PUT", "PATCH", "DELETE"]


@pytest.fixture
def path(alice: ApiClient) -> str:
    return detail(str(make_schedule(alice.caller.command).uuid))


def tag(client: ApiClient, path: str) -> str:
    return client.get(path)["ETag"]


def write(client: ApiClient, method: str, path: str, if_match: str, name: str = "new") -> ApiResponse:
    body = None if method == "DELETE" else {"name": name}
    return client.request(method, path, body, headers={"If-Match": if_match})


def test_a_tag_is_strong_and_stays_while_nothing_changes(alice: ApiClient, path: str) -> None:
    assert tag(alice, path) == tag(alice, path) == tag(alice, f"{path}?expand=next_run_at")
    assert tag(alice, path).startswith('"')


def test_each_change_makes_another_tag_and_its_answer_tells_it(alice: ApiClient, path: str) -> None:
    first = tag(alice, path)

    second = alice.put(path, {"description": "not among the nine keys"})["ETag"]

    assert second == tag(alice, path) != first
    assert alice.put(path, {"description": "not among the nine keys"})["ETag"] == second


def test_a_spent_repeat_makes_another_tag(alice: ApiClient) -> None:
    schedule = make_schedule(alice.caller.command, repeats=2)
    first = tag(alice, detail(str(schedule.uuid)))

    ScheduledExecution.objects.update(repeats=1)

    assert tag(alice, detail(str(schedule.uuid))) != first


@pytest.mark.parametrize("method", WRITES)
@pytest.mark.parametrize("if_match", ["{current}", '"other", {current}', '"other",{current}', "*", " * "])
def test_a_write_of_the_right_version_succeeds(alice: ApiClient, path: str, method: str, if_match: str) -> None:
    response = write(alice, method, path, if_match.format(current=tag(alice, path)))

    assert response.status_code == (204 if method == "DELETE" else 200)


@pytest.mark.parametrize("method", WRITES)
@pytest.mark.parametrize("if_match", ["old", '"other"', "W/{current}", "", "{bare}"])
def test_a_write_of_another_version_is_refused(alice: ApiClient, path: str, method: str, if_match: str) -> None:
    current = tag(alice, path)
    sent = if_match.format(current=current, bare=current.strip('"'))
    if if_match == "old":
        alice.put(path, {"name": "newer"})
        sent = current

    response = write(alice, method, path, sent)

    assert response.status_code == 412
    assert response.json() == {
        "detail": "The object has changed since the version in If-Match. Read it again.",
        "code": "precondition_failed",
    }
    assert ScheduledExecution.objects.get().name == ("newer" if if_match == "old" else "report")


def test_a_missing_schedule_is_not_found_whatever_the_condition(
    alice: ApiClient, mallory: ApiClient, path: str
) -> None:
    for method in WRITES:
        assert write(mallory, method, path, "*").status_code == 404
        assert alice.request(method, path, {"name": "n"}, key=None, headers={"If-Match": "*"}).status_code == 401


@pytest.mark.django_db(transaction=True)
def test_the_second_of_two_writes_of_one_version_is_refused(alice: ApiClient, threads: Threads) -> None:
    schedule = make_schedule(alice.caller.command)
    path = detail(str(schedule.uuid))
    current = tag(alice, path)

    with transaction.atomic():
        ScheduledExecution.objects.select_for_update().get()
        answers = [threads.start(partial(write, alice, "PUT", path, current, name)) for name in ("first", "second")]
        wait_for_waiters(2)

    assert sorted(answer.result().status_code for answer in answers) == [200, 412]
    assert ScheduledExecution.objects.get().name in ("first", "second")


def test_a_list_has_no_tag(alice: ApiClient, path: str) -> None:
    assert "ETag" not in alice.get(LIST)
