"""Changing, pausing, resuming and deleting schedules over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from commands_platform.lib import clock
from commands_platform.lib.errors import NotFoundError
from deliveries.models import Delivery, Reason, State
from scheduling import dispatch, run_services, services
from scheduling.models import ScheduledExecution
from scheduling.serializers import ScheduledExecutionOutput
from tests.api import ApiClient
from tests.factories import make_delivery, make_schedule
from tests.scheduling.schedules import JUST_AFTER_NOON, KEYS, create_uuid, detail, stored

pytestmark = pytest.mark.django_db


def test_put_changes_the_given_fields_and_answers_with_the_nine_keys(alice: ApiClient) -> None:
    uuid = create_uuid(alice, execution_frequency=60, repeats=3, payload={"a": 1})

    response = alice.put(
        detail(uuid), {"name": "other", "payload": {"b": 2}, "callback_url": "http://127.0.0.1:8099/x"}
    )

    assert response.status_code == 200
    assert list(response.json()) == KEYS
    assert response.json() == {
        "uuid": uuid,
        "name": "other",
        "timezone_type": "organization_timezone",
        "is_active": True,
        "cron": None,
        "execution_frequency": 60,
        "repeats": 3,
        "payload": {"b": 2},
        "callback_url": "http://127.0.0.1:8099/x",
    }


def test_the_answer_of_get_can_be_put_back_unchanged(alice: ApiClient) -> None:
    uuid = create_uuid(alice, cron="0 9 * * *")
    shown = alice.get(detail(uuid)).json()
    before = stored(uuid)
    pending = make_delivery(alice.caller.command, source_uuid=before.uuid)

    response = alice.put(detail(uuid), shown)

    after = stored(uuid)
    pending.refresh_from_db()
    assert response.json() == shown
    assert (after.next_run_at, after.callback_url, after.anchor_at) == (before.next_run_at, "", before.anchor_at)
    assert pending.state == State.PENDING


def test_put_validates_like_post_and_then_changes_nothing(alice: ApiClient) -> None:
    uuid = create_uuid(alice, cron="0 9 * * *")

    response = alice.put(detail(uuid), {"name": "other", "cron": "61 * * * *"})

    assert response.status_code == 400
    assert response.json()["code"] == "params_validation_error"
    assert stored(uuid).name == "report"


NULL_IS_ABSENT = dict.fromkeys(
    (
        "payload", "repeats", "execution_frequency", "timezone_type", "is_active", "is_owned_by_user", "headers",
        "cron_seconds", "dst_gap", "dst_overlap", "misfire_policy", "misfire_grace", "overlap",
    )
)  # fmt: skip
NULL_IS_NONE = dict.fromkeys(
    (
        "command_uuid", "cron", "timezone", "callback_url", "description", "starts_at", "ends_at", "timeout",
        "max_attempts",
    )
)  # fmt: skip


def test_null_in_an_optional_field_means_its_default_on_creation(alice: ApiClient) -> None:
    plain = create_uuid(alice)
    nulls = create_uuid(alice, **NULL_IS_ABSENT, **NULL_IS_NONE)

    names = [
        "user_uuid",
        *(name for name in ScheduledExecutionOutput.expandable() if name in NULL_IS_ABSENT | NULL_IS_NONE),
    ]
    expand = "?expand=" + ",".join(names)
    assert alice.get(detail(nulls) + expand).json() == alice.get(detail(plain) + expand).json() | {"uuid": nulls}


def test_null_changes_nothing_in_fields_that_cannot_be_null(alice: ApiClient) -> None:
    uuid = create_uuid(
        alice, execution_frequency=60, repeats=5, payload={"a": 1}, timezone_type="user_timezone", is_active=False,
        headers={"X-A": "1"}, dst_gap="skip", dst_overlap="both", misfire_policy="skip", misfire_grace=9,
        overlap="skip", description="kept",
    )  # fmt: skip
    before = ScheduledExecution.objects.values().get()

    response = alice.put(detail(uuid), NULL_IS_ABSENT)

    assert response.status_code == 200
    assert ScheduledExecution.objects.values().get() | {"updated_at": None} == before | {"updated_at": None}


def test_a_null_name_is_refused_on_a_change_too(alice: ApiClient) -> None:
    uuid = create_uuid(alice)

    response = alice.put(detail(uuid), {"name": None})

    assert response.status_code == 400
    assert list(response.json()["errors"]) == ["name"]


def test_a_new_timing_begins_a_new_phase(alice: ApiClient) -> None:
    with clock.replaced_by(lambda: JUST_AFTER_NOON):
        uuid = create_uuid(alice, execution_frequency=3600)
    later = JUST_AFTER_NOON + timedelta(minutes=10)

    with clock.replaced_by(lambda: later):
        alice.put(detail(uuid), {"execution_frequency": 60})

    assert stored(uuid).next_run_at == datetime(2026, 2, 25, 12, 11, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("changes", "state", "reason"),
    [
        ({"is_active": False}, State.CANCELLED, Reason.SCHEDULE_PAUSED),
        ({"payload": {"new": 1}}, State.CANCELLED, Reason.SCHEDULE_CHANGED),
        ({"execution_frequency": 5}, State.CANCELLED, Reason.SCHEDULE_CHANGED),
        ({"callback_url": "http://127.0.0.1:8099/x"}, State.CANCELLED, Reason.SCHEDULE_CHANGED),
        ({"name": "other"}, State.PENDING, ""),
        ({"repeats": 7}, State.PENDING, ""),
    ],
)
def test_a_change_cancels_unsent_deliveries(
    alice: ApiClient, changes: dict[str, Any], state: State, reason: str
) -> None:
    uuid = create_uuid(alice, execution_frequency=60)
    pending = make_delivery(alice.caller.command, source_uuid=stored(uuid).uuid)

    alice.put(detail(uuid), changes)

    pending.refresh_from_db()
    assert (pending.state, pending.reason) == (state, reason)


def test_deleting_cancels_unsent_deliveries_and_keeps_the_ledger(alice: ApiClient) -> None:
    uuid = create_uuid(alice, execution_frequency=60)
    pending = make_delivery(alice.caller.command, source_uuid=stored(uuid).uuid)

    response = alice.delete(detail(uuid))

    assert (response.status_code, response.content) == (204, b"")
    assert alice.get(detail(uuid)).status_code == 404
    pending.refresh_from_db()
    assert (pending.state, pending.reason) == (State.CANCELLED, Reason.SCHEDULE_DELETED)


def test_a_resumed_schedule_keeps_its_phase_and_the_pause_is_recorded(alice: ApiClient) -> None:
    start = JUST_AFTER_NOON.replace(microsecond=0)
    with clock.replaced_by(lambda: start):
        uuid = create_uuid(alice, execution_frequency=60)
        alice.put(detail(uuid), {"is_active": False})

    with clock.replaced_by(lambda: start + timedelta(minutes=10, seconds=30)):
        alice.put(detail(uuid), {"is_active": True})

    schedule = stored(uuid)
    (row,) = Delivery.objects.of_source(schedule.uuid)
    assert schedule.next_run_at == start + timedelta(minutes=11)
    assert (row.state, row.reason, row.slot_count) == (State.SKIPPED, Reason.PAUSED, 10)
    assert (row.due_at, row.last_due_at) == (start + timedelta(minutes=1), start + timedelta(minutes=10))


def test_a_paused_single_run_fires_when_it_is_resumed(alice: ApiClient) -> None:
    with clock.replaced_by(lambda: JUST_AFTER_NOON):
        uuid = create_uuid(alice, is_active=False)
    later = JUST_AFTER_NOON + timedelta(hours=1)

    with clock.replaced_by(lambda: later):
        assert dispatch.dispatch_due() == 0
        alice.put(detail(uuid), {"is_active": True})
        dispatch.dispatch_due()

    (row,) = Delivery.objects.of_source(stored(uuid).uuid)
    assert row.state == State.PENDING
    assert stored(uuid).is_active is False


def test_a_completed_schedule_runs_again_only_with_new_repeats(alice: ApiClient) -> None:
    with clock.replaced_by(lambda: JUST_AFTER_NOON):
        uuid = create_uuid(alice, execution_frequency=60, repeats=1)
    with clock.replaced_by(lambda: JUST_AFTER_NOON + timedelta(minutes=2)):
        dispatch.dispatch_due()
        assert alice.get(detail(uuid)).json()["is_active"] is False
        refused = alice.put(detail(uuid), {"is_active": True})
        accepted = alice.put(detail(uuid), {"is_active": True, "repeats": 2})

    assert (refused.status_code, list(refused.json()["errors"])) == (400, ["is_active"])
    assert accepted.json()["is_active"] is True
    schedule = stored(uuid)
    assert schedule.next_run_at is not None
    assert schedule.next_run_at > JUST_AFTER_NOON + timedelta(minutes=2)


def test_concurrent_changes_are_made_one_after_the_other(alice: ApiClient) -> None:
    schedule = make_schedule(alice.caller.command)

    alice.put(detail(str(schedule.uuid)), {"name": "first"})
    alice.put(detail(str(schedule.uuid)), {"repeats": 5})

    schedule.refresh_from_db()
    assert (schedule.name, schedule.repeats) == ("first", 5)


@pytest.mark.parametrize("change", [services.delete_scheduled_execution, run_services.run_now, services.pause])
def test_a_schedule_that_is_deleted_concurrently_is_not_found(alice: ApiClient, change: Any) -> None:
    schedule = stored(create_uuid(alice))
    services.delete_scheduled_execution(schedule=schedule)

    with pytest.raises(NotFoundError):
        change(schedule=schedule)
