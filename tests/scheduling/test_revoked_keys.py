"""The schedules of an API key that was revoked with `pause_schedules`."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from auth_tokens.models import ApiKey
from auth_tokens.services import revoke_api_key, rotate_api_key
from commands_platform.lib import clock
from deliveries.models import Delivery, State
from scheduling.models import ScheduledExecution
from scheduling.revoked_keys import pause_schedules_of_revoked_keys
from tests.api import ApiClient, make_caller
from tests.audit.changes import last_change_of
from tests.factories import make_api_key, make_delivery, make_schedule
from tests.locks import held_elsewhere

pytestmark = pytest.mark.django_db


def make(client: ApiClient, **how: Any) -> ScheduledExecution:
    answer = client.post("/v1/platform/scheduling/", {"name": "report", "cron": "0 9 * * *"}, **how).json()
    return ScheduledExecution.objects.get(uuid=answer["uuid"])


def state_of(schedule: ScheduledExecution) -> tuple[bool, str]:
    schedule.refresh_from_db()
    return schedule.is_active, schedule.deactivation_reason


def test_schedules_of_a_leaked_key_stop(alice: ApiClient) -> None:
    _, other_key = make_api_key(command=alice.caller.command)
    leaked, kept = make(alice), make(alice, key=other_key)
    unsent = make_delivery(alice.caller.command, source_uuid=leaked.uuid)
    manager = ApiClient(alice.caller.with_scopes("MANAGE"))

    path = f"/v1/platform/api-keys/{alice.caller.api_key.uuid}/revoke/"
    assert manager.post(path, {"pause_schedules": True}).status_code == 200
    pause_schedules_of_revoked_keys()

    assert state_of(leaked) == (False, "key_revoked")
    assert state_of(kept) == (True, "")
    assert Delivery.objects.get(pk=unsent.pk).state == State.CANCELLED
    assert last_change_of(leaked).new == {"is_active": False, "deactivation_reason": "key_revoked"}


def test_without_pause_schedules_they_go_on(alice: ApiClient) -> None:
    schedule = make(alice)

    revoke_api_key(api_key=alice.caller.api_key)
    pause_schedules_of_revoked_keys()

    assert state_of(schedule) == (True, "")


def test_schedules_of_the_keys_that_it_has_replaced_stop_too(alice: ApiClient) -> None:
    schedule = make(alice)
    second, _ = rotate_api_key(api_key=alice.caller.api_key, overlap=timedelta(hours=1))
    third, _ = rotate_api_key(api_key=second, overlap=timedelta(hours=1))

    revoke_api_key(api_key=third, pause_schedules=True)
    pause_schedules_of_revoked_keys()

    assert state_of(schedule) == (False, "key_revoked")


def test_a_paused_schedule_can_be_resumed_with_another_key(alice: ApiClient) -> None:
    schedule = make(alice)
    _, other_key = make_api_key(command=alice.caller.command)
    revoke_api_key(api_key=alice.caller.api_key, pause_schedules=True)
    pause_schedules_of_revoked_keys()

    path = f"/v1/platform/scheduling/{schedule.uuid}/"
    assert alice.patch(path, {"is_active": True}, key=other_key).json()["is_active"] is True
    pause_schedules_of_revoked_keys()
    assert state_of(schedule) == (True, "")


def test_the_walk_ends_a_minute_after_the_revocation(alice: ApiClient) -> None:
    make_schedule(alice.caller.command)
    key = revoke_api_key(api_key=alice.caller.api_key, pause_schedules=True)

    pause_schedules_of_revoked_keys()
    late = make_schedule(alice.caller.command, made_by=key)
    pause_schedules_of_revoked_keys()
    assert state_of(late) == (False, "key_revoked")
    later = clock.now() + timedelta(minutes=2)
    with clock.replaced_by(lambda: later):
        pause_schedules_of_revoked_keys()

    assert ApiKey.objects.get(pk=key.pk).pauses_after is None


@pytest.mark.django_db(transaction=True)
def test_a_schedule_that_somebody_has_locked_is_found_again() -> None:
    client = ApiClient(make_caller())
    held, free = make(client), make(client)
    revoke_api_key(api_key=client.caller.api_key, pause_schedules=True)

    with held_elsewhere(ScheduledExecution.objects.filter(pk=held.pk)):
        pause_schedules_of_revoked_keys()
        assert state_of(free) == (False, "key_revoked")
    assert state_of(held) == (True, "")

    pause_schedules_of_revoked_keys()
    assert state_of(held) == (False, "key_revoked")
