"""`run/`, `pause/` and `resume/`."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import orjson
import pytest

from audit.models import Change
from commands_platform.lib.clock import replaced_by
from deliveries.models import Delivery, Kind, State
from organizations.models import Command
from scheduling import pauses
from scheduling.models import ScheduledExecution
from scheduling.validation import MAX_PAYLOAD_BYTES
from tests.api import ApiClient, make_caller
from tests.locks import held_elsewhere
from tests.scheduling.schedules import LIST, MINUTE, NOON, at, change, create, expanded, fired, run, skipped, stored

pytestmark = pytest.mark.django_db

PERIOD: dict[str, Any] = {"execution_frequency": 60}


def act(client: ApiClient, schedule: ScheduledExecution, action: str, body: Any = None, **options: Any) -> Any:
    response = client.post(f"{LIST}{schedule.uuid}/{action}/", body, **options)
    schedule.refresh_from_db()
    return response


def payload_of(response: Any) -> Any:
    return orjson.loads(Delivery.objects.get(pk=response.json()["delivery_uuid"]).body)


def test_a_run_by_hand_leaves_the_phase_and_the_repeats(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, **PERIOD, repeats=3, payload={"a": 1})
    before = ScheduledExecution.objects.values().get()
    time[0] = NOON + MINUTE / 2
    response = act(alice, schedule, "run")
    assert response.status_code == 202
    assert payload_of(response) == {"a": 1}
    assert ScheduledExecution.objects.values().get() == before
    row = schedule.slots().get()
    assert (row.kind, row.state, row.due_at) == (Kind.MANUAL, State.PENDING, time[0])
    assert str(row.pk) == response.json()["delivery_uuid"]


def test_a_run_by_hand_may_have_another_payload(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, **PERIOD, payload={"a": 1})
    assert payload_of(act(alice, schedule, "run", {"payload": {"b": [1, "ü", None]}})) == {"b": [1, "ü", None]}
    assert payload_of(act(alice, schedule, "run", {"payload": {}})) == {}
    assert payload_of(act(alice, schedule, "run", {"payload": None})) == {"a": 1}
    assert schedule.payload == {"a": 1}


def test_a_paused_schedule_can_be_run_by_hand(alice: ApiClient) -> None:
    schedule = create(alice, **PERIOD, is_active=False)
    assert act(alice, schedule, "run").status_code == 202


@pytest.mark.parametrize(
    "body", [{"payload": []}, {"payload": "x"}, {"payload": {"a": "x" * MAX_PAYLOAD_BYTES}}, {"payload": 0}]
)
def test_an_invalid_payload_is_refused(alice: ApiClient, body: Any) -> None:
    schedule = create(alice, **PERIOD)
    response = act(alice, schedule, "run", body)
    assert response.status_code == 400
    assert list(response.json()["errors"]) == ["payload"]
    assert not schedule.slots().exists()


def test_a_run_that_cannot_be_sent_is_refused(alice: ApiClient) -> None:
    schedule = create(alice, **PERIOD)
    Command.objects.update(callback_url="")
    response = act(alice, schedule, "run")
    assert response.status_code == 400
    assert "neither the schedule nor its command has a callback URL" in response.json()["detail"]


def test_a_pause_has_a_reason_and_cancels_unsent_deliveries(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, **PERIOD)
    run(time, 1)
    response = act(alice, schedule, "pause", {"reason": "The receiver moves."})
    assert response.status_code == 200
    assert response.json() == alice.get(f"{LIST}{schedule.uuid}/").json()
    assert response.json()["is_active"] is False
    assert [row.state for row in schedule.slots()] == [State.CANCELLED]
    assert expanded(alice, schedule, "pause_reason", "paused_until", "deactivation_reason") == {
        "pause_reason": "The receiver moves.", "paused_until": None, "deactivation_reason": "paused",
    }  # fmt: skip
    recorded = Change.objects.filter(object_uuid=str(schedule.uuid)).latest("pk")
    assert recorded.new["pause_reason"] == "The receiver moves."


def test_a_resumed_schedule_has_no_pause(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, **PERIOD)
    act(alice, schedule, "pause", {"reason": "x", "until": at(60)})
    time[0] = NOON + 3.5 * MINUTE
    assert act(alice, schedule, "resume").json()["is_active"] is True
    assert (schedule.pause_reason, schedule.paused_until) == ("", None)
    assert schedule.next_run_at == NOON + 4 * MINUTE
    assert skipped(schedule) == [(1, 3, 3, "paused")]
    assert act(alice, schedule, "resume").status_code == 200


def test_a_change_that_resumes_ends_the_pause_too(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, **PERIOD)
    act(alice, schedule, "pause", {"until": at(60)})
    change(alice, schedule, name="other")
    assert schedule.paused_until == NOON + 60 * MINUTE
    change(alice, schedule, is_active=True)
    assert schedule.paused_until is None


def test_a_schedule_resumes_by_itself_and_runs_at_the_end_of_the_pause(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, **PERIOD)
    act(alice, schedule, "pause", {"until": at(3)})
    time[0] = NOON + 3 * MINUTE - timedelta(microseconds=1)
    assert pauses.resume_paused() == 0
    # Housekeeping comes a little late.
    time[0] = NOON + 3 * MINUTE + timedelta(seconds=1)
    assert pauses.resume_paused() == 1
    run(time, 3.1, 4)
    assert fired(schedule) == [3, 4]
    assert skipped(schedule) == [(1, 2, 2, "paused")]
    assert pauses.resume_paused() == 0


def test_a_pause_can_be_given_another_end(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, **PERIOD)
    act(alice, schedule, "pause", {"until": at(3)})
    act(alice, schedule, "pause", {"until": at(9)})
    assert schedule.paused_until == NOON + 9 * MINUTE
    act(alice, schedule, "pause")
    assert schedule.paused_until is None


def test_a_schedule_whose_window_has_ended_stays_paused(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, **PERIOD, ends_at=at(2))
    act(alice, schedule, "pause", {"until": at(3)})
    time[0] = NOON + 4 * MINUTE
    assert pauses.resume_paused() == 0
    schedule.refresh_from_db()
    assert (schedule.is_active, schedule.paused_until) == (False, None)


@pytest.mark.django_db(transaction=True)
def test_a_locked_schedule_does_not_delay_the_others(alice: ApiClient) -> None:
    first, second = create(alice, **PERIOD), create(alice, **PERIOD)
    for schedule in (first, second):
        act(alice, schedule, "pause", {"until": "2035-01-01T00:00:00Z"})
    with (
        held_elsewhere(ScheduledExecution.objects.filter(pk=first.pk)),
        replaced_by(lambda: datetime.fromisoformat("2035-01-01T00:00:01Z")),
    ):
        assert pauses.resume_paused() == 1
    assert [stored(str(each.uuid)).is_active for each in (first, second)] == [False, True]


@pytest.mark.parametrize("body", [{"until": at(-1)}, {"until": "soon"}, {"reason": 5}, {"reason": "x" * 501}])
def test_an_invalid_pause_is_refused(alice: ApiClient, time: list[datetime], body: Any) -> None:
    schedule = create(alice, **PERIOD)
    response = act(alice, schedule, "pause", body)
    assert response.status_code == 400
    assert list(response.json()["errors"]) == list(body)
    assert schedule.is_active


def test_a_completed_schedule_cannot_be_paused(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, **PERIOD, repeats=1)
    run(time, 1)
    response = act(alice, schedule, "pause")
    assert (response.status_code, response.json()["code"]) == (400, "not_active")


@pytest.mark.parametrize("action", ["run", "pause", "resume"])
def test_strangers_and_requests_without_a_key_reach_nothing(alice: ApiClient, action: str) -> None:
    schedule = create(alice, **PERIOD)
    before = ScheduledExecution.objects.values().get()
    assert act(ApiClient(make_caller()), schedule, action).status_code == 404
    assert act(alice, schedule, action, key=None).status_code == 401
    assert act(alice, schedule, action, token=None).json()["code"] == "missing_token"
    assert ScheduledExecution.objects.values().get() == before
    assert not Delivery.objects.exists()
