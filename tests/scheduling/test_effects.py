"""A change moves runs and cancels deliveries only if it affects when or what is sent."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from commands_platform.lib import clock
from deliveries.models import Delivery, Reason, State
from scheduling import dispatch
from scheduling.models import DeactivationReason, ScheduledExecution
from tests.api import ApiClient
from tests.factories import make_delivery
from tests.scheduling.schedules import LIST, MINUTE, NOON, at, change, create, run, stored

pytestmark = pytest.mark.django_db

ONE_OFF: dict[str, Any] = {}
PERIOD = {"execution_frequency": 3600}
CRON = {"cron": "0 9 * * *", "timezone": "Europe/Berlin"}
CONTENT = {"payload": {"a": 1, "b": [1.5]}, "headers": {"X-A": "1"}, "callback_url": "http://127.0.0.1:8099/own"}

# Changes without an effect on any schedule: they alter neither the request nor its time.
NO_EFFECT: list[dict[str, Any]] = [
    {},
    {"name": "other"},
    {"description": "more words"},
    {"timeout": 3},
    {"max_attempts": 2},
    {"misfire_policy": "skip"},
    {"misfire_grace": 60},
    {"overlap": "skip"},
    {"is_owned_by_user": False},
    {"payload": {"b": [1.5], "a": 1}},
    {"headers": {"x-a": "1"}},
    {"callback_url": "HTTP://127.0.0.1:8099/own"},
    {"starts_at": at(-600)},
    {"ends_at": at(60 * 24 * 365)},
]
EFFECT_ON_REQUEST: list[dict[str, Any]] = [
    {"payload": {"a": True, "b": [1.5]}},
    {"payload": {"a": 1.0, "b": [1.5]}},
    {"payload": {}},
    {"headers": {"X-A": "2"}},
    {"headers": {}},
    {"callback_url": "http://127.0.0.1:8099/new"},
    {"callback_url": None},
]
# Fields that matter only for a cron expression.
FOR_CRON_ALONE: list[dict[str, Any]] = [
    {"dst_gap": "skip"},
    {"dst_overlap": "both"},
    {"timezone": "Asia/Tokyo"},
    {"timezone_type": "user_timezone"},
    {"cron_seconds": True},
]
NO_EFFECT_ON_CRON: list[dict[str, Any]] = [
    {"execution_frequency": 60},
    {"cron": "00 09 * * *"},
    {"cron": "0 9 * * 0-6"},
    {"timezone": "europe/berlin"},
    {"timezone": "Arctic/Longyearbyen"},
    {"starts_at": at(-1)},
]
EFFECT_ON_TIMING: list[dict[str, Any]] = [
    {"cron": "1 9 * * *"},
    {"starts_at": at(600)},
]


def waiting(client: ApiClient, time: list[datetime], **timing: Any) -> tuple[ScheduledExecution, Delivery]:
    """Makes a schedule with a run from five minutes ago that waits for its next attempt."""
    schedule = create(client, **timing, **CONTENT)
    time[0] = NOON + 5 * MINUTE
    if not timing:
        dispatch.dispatch_due()
        row = schedule.slots().get()
    else:
        row = make_delivery(client.caller.command, source_uuid=schedule.uuid, due_at=NOON)
    schedule.refresh_from_db()
    return schedule, row


def what_counts(schedule: ScheduledExecution) -> tuple[Any, ...]:
    return schedule.next_run_at, schedule.anchor_at, schedule.effective_from, schedule.is_active


@pytest.mark.parametrize(
    ("timing", "changes"),
    [
        *((timing, changes) for timing in (ONE_OFF, PERIOD, CRON) for changes in NO_EFFECT),
        *((timing, changes) for timing in (ONE_OFF, PERIOD) for changes in FOR_CRON_ALONE),
        *((CRON, changes) for changes in NO_EFFECT_ON_CRON),
        (CRON | {"cron": "*/5 * * * *"}, {"dst_gap": "skip", "dst_overlap": "both"}),
        ({"cron": "0 9 * * *", "timezone": "UTC"}, {"dst_gap": "skip", "dst_overlap": "both"}),
        ({"cron": "0 9 * * *", "timezone": "UTC"}, {"timezone_type": "organization_timezone"}),
        ({"cron": "0 9 * * *", "timezone": "UTC"}, {"timezone": "Etc/UTC"}),
        (PERIOD, {"starts_at": at(-60)}),
        (PERIOD, {"starts_at": at(-600)}),
        (PERIOD | {"starts_at": at(-90)}, {"starts_at": None}),
        (PERIOD | {"repeats": 3}, {"repeats": 5}),
        (PERIOD | {"repeats": 3}, {"repeats": 0}),
    ],
)  # fmt: skip
def test_a_change_without_effect_moves_and_cancels_nothing(
    alice: ApiClient, time: list[datetime], timing: dict[str, Any], changes: dict[str, Any]
) -> None:
    schedule, row = waiting(alice, time, **timing)
    before = what_counts(schedule)
    if changes == {"repeats": 0}:
        before = (*before[:3], False)

    response = change(alice, schedule, **changes)

    assert response.status_code == 200, response.content
    row.refresh_from_db()
    assert (row.state, row.reason) == (State.PENDING, "")
    assert what_counts(schedule) == before


@pytest.mark.parametrize(
    ("timing", "changes"),
    [
        *((timing, changes) for timing in (ONE_OFF, PERIOD, CRON) for changes in EFFECT_ON_REQUEST + EFFECT_ON_TIMING),
        *((CRON, changes) for changes in FOR_CRON_ALONE if "cron_seconds" not in changes),
        (CRON, {"cron": None}),
        (CRON, {"cron": None, "execution_frequency": 60}),
        (CRON, {"cron": "0 9 * * * *", "cron_seconds": True}),
        (PERIOD, {"execution_frequency": 60}),
        (PERIOD, {"execution_frequency": 0}),
        (PERIOD, {"starts_at": at(-90)}),
        (PERIOD | {"starts_at": at(-90)}, {"starts_at": at(-91)}),
        (ONE_OFF, {"execution_frequency": 60}),
    ],
)
def test_a_change_with_effect_cancels_unsent_deliveries(
    alice: ApiClient, time: list[datetime], timing: dict[str, Any], changes: dict[str, Any]
) -> None:
    schedule, row = waiting(alice, time, **timing)

    response = change(alice, schedule, **changes)

    assert response.status_code == 200, response.content
    row.refresh_from_db()
    assert (row.state, row.reason) == (State.CANCELLED, Reason.SCHEDULE_CHANGED)


@pytest.mark.parametrize("changes", EFFECT_ON_REQUEST)
def test_a_change_of_the_request_does_not_move_the_runs(
    alice: ApiClient, time: list[datetime], changes: dict[str, Any]
) -> None:
    schedule, _ = waiting(alice, time, **PERIOD)
    before = what_counts(schedule)

    change(alice, schedule, **changes)

    assert what_counts(schedule) == before


def test_a_single_run_survives_a_change_without_effect(alice: ApiClient, time: list[datetime]) -> None:
    schedule, row = waiting(alice, time)

    change(alice, schedule, dst_gap="skip", cron_seconds=True, timezone="Asia/Tokyo")

    row.refresh_from_db()
    assert row.state == State.PENDING
    assert schedule.deactivation_reason == DeactivationReason.COMPLETED


def test_a_future_single_run_moves_with_its_start(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, starts_at=at(10))

    change(alice, schedule, starts_at=at(20))
    assert schedule.next_run_at == NOON + 20 * MINUTE
    change(alice, schedule, starts_at=None)
    assert schedule.next_run_at == NOON


def test_an_earlier_end_cancels_only_the_slots_after_it(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, execution_frequency=60, repeats=3)
    run(time, 1, 2, 3)

    change(alice, schedule, ends_at=at(2))

    assert [row.state for row in schedule.slots()] == [State.PENDING, State.PENDING, State.CANCELLED]


def test_a_pause_cancels_unsent_deliveries_even_beside_other_changes(alice: ApiClient, time: list[datetime]) -> None:
    schedule, row = waiting(alice, time, **PERIOD, repeats=3)

    change(alice, schedule, is_active=False, repeats=0)

    row.refresh_from_db()
    assert (row.state, row.reason) == (State.CANCELLED, Reason.SCHEDULE_PAUSED)


def test_a_schedule_whose_zone_no_longer_exists_can_get_another_one(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, **CRON)
    ScheduledExecution.objects.update(timezone="Europe/Atlantis")

    assert change(alice, schedule, timezone="Asia/Tokyo").status_code == 200
    assert schedule.next_run_at == NOON.replace(hour=0) + timedelta(days=1)


def test_a_change_of_nothing_writes_nothing(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, **PERIOD, **CONTENT)
    before = ScheduledExecution.objects.values("updated_at").get()
    shown = alice.get(f"{LIST}{schedule.uuid}/").json()

    with clock.replaced_by(lambda: NOON + MINUTE):
        assert alice.put(f"{LIST}{schedule.uuid}/", shown).json() == shown

    assert ScheduledExecution.objects.values("updated_at").get() == before


def test_a_stored_change_sets_updated_at(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, **PERIOD, payload={"a": 1, "b": 2})
    before = schedule.updated_at

    change(alice, schedule, payload={"b": 2, "a": 1})

    assert schedule.updated_at > before
    assert list(stored(str(schedule.uuid)).payload) == ["b", "a"]


def test_a_zone_prefix_equals_the_same_timezone(alice: ApiClient, time: list[datetime]) -> None:
    schedule, row = waiting(alice, time, **CRON)
    before = what_counts(schedule)

    change(alice, schedule, cron="TZ=Europe/Berlin 0 9 * * *")

    row.refresh_from_db()
    assert (row.state, what_counts(schedule)) == (State.PENDING, before)
