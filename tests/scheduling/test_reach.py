"""Which schedules a caller reaches with a bound key, an organization's key, a manager's key, and a token."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from auth_tokens.scopes import COMMAND_SCOPES
from deliveries.models import State
from organizations.models import Command
from scheduling.models import ScheduledExecution
from tests.api import ApiClient, ApiResponse
from tests.factories import make_api_key, make_command, make_delivery, make_schedule, make_token, make_user

PATH = "/v1/platform/scheduling/"
MISSING_TOKEN = {"detail": "You should specify a valid exchange token", "code": "missing_token"}
NOT_FOUND = {"detail": "Not found.", "code": "not_found"}
INVALID_COMMAND = {
    "detail": "Command is not valid. It must be owned by the same API Key organization owner",
    "code": "invalid_command_specified",
}


def _span() -> dict[str, Any]:
    return {"from": "2020-01-01T00:00:00Z", "to": "2100-01-01T00:00:00Z"}


# Each request for one schedule, or for a part of it.
WAYS: dict[str, Callable[..., ApiResponse]] = {
    "get": lambda client, uuid, **how: client.get(f"{PATH}{uuid}/", **how),
    "put": lambda client, uuid, **how: client.put(f"{PATH}{uuid}/", {"name": "changed"}, **how),
    "patch": lambda client, uuid, **how: client.patch(f"{PATH}{uuid}/", {"name": "changed"}, **how),
    "delete": lambda client, uuid, **how: client.delete(f"{PATH}{uuid}/", **how),
    "slots": lambda client, uuid, **how: client.get(f"{PATH}{uuid}/slots/", **how),
    "redeliver": lambda client, uuid, **how: client.post(f"{PATH}{uuid}/redeliver/", _span(), **how),
}


def _names(response: ApiResponse) -> set[str]:
    assert response.status_code == 200
    return {schedule["name"] for schedule in response.json()["results"]}


def _colleague(client: ApiClient) -> Command:
    return make_command(client.caller.organization)


def _unbound_key(client: ApiClient, *scopes: str) -> str:
    return make_api_key(client.caller.organization, scopes=[*COMMAND_SCOPES, *scopes])[1]


def test_a_bound_key_cannot_schedule_another_command(alice: ApiClient) -> None:
    body = {"name": "n", "command_uuid": str(_colleague(alice).uuid), "callback_url": "http://127.0.0.1:9000/mine"}

    for token in (None, alice.caller.token):
        response = alice.post(PATH, body, token=token)
        assert response.status_code == 400
        assert response.json() == INVALID_COMMAND
    assert not ScheduledExecution.objects.exists()


def test_a_bound_key_may_name_its_own_command(alice: ApiClient) -> None:
    body = {"name": "n", "command_uuid": str(alice.caller.command.uuid)}

    assert alice.post(PATH, body, token=None).status_code == 200


def test_a_key_without_a_command_schedules_any_command_of_its_organization(alice: ApiClient) -> None:
    key = _unbound_key(alice)

    for command in (alice.caller.command, _colleague(alice)):
        response = alice.post(PATH, {"name": "n", "command_uuid": str(command.uuid)}, key=key, token=None)
        assert response.status_code == 200


@pytest.mark.parametrize("way", WAYS)
def test_a_bound_key_does_not_find_another_commands_schedule(alice: ApiClient, way: str) -> None:
    schedule = make_schedule(_colleague(alice))

    with_token = WAYS[way](alice, schedule.uuid)
    without = WAYS[way](alice, schedule.uuid, token=None)

    assert (with_token.status_code, with_token.json()) == (404, NOT_FOUND)
    assert (without.status_code, without.json()) == (400, MISSING_TOKEN)
    schedule.refresh_from_db()
    assert schedule.name == "report"


def test_the_slots_of_another_commands_schedule_are_not_found(alice: ApiClient) -> None:
    command = _colleague(alice)
    schedule = make_schedule(command)
    slot = make_delivery(command, source_uuid=schedule.uuid)

    assert alice.get(f"{PATH}{schedule.uuid}/slots/{slot.pk}/").status_code == 404
    assert alice.post(f"{PATH}{schedule.uuid}/slots/{slot.pk}/redeliver/").status_code == 404


def test_a_bound_key_lists_only_the_schedules_of_its_command(alice: ApiClient) -> None:
    make_schedule(alice.caller.command, name="own")
    make_schedule(_colleague(alice), name="another's")

    assert _names(alice.get(PATH)) == {"own"}
    assert _names(alice.get(PATH, key=_unbound_key(alice))) == {"own", "another's"}


@pytest.mark.parametrize("way", WAYS)
def test_without_a_token_a_key_reaches_schedules_that_no_user_owns(alice: ApiClient, way: str) -> None:
    schedule = make_schedule(alice.caller.command)

    assert WAYS[way](alice, schedule.uuid, token=None).status_code in {200, 204}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("which", ["owned", "unknown", "a stranger's", "malformed"])
def test_without_a_token_any_other_schedule_needs_one(alice: ApiClient, way: str, which: str) -> None:
    uuid = {
        "owned": make_schedule(alice.caller.command, owner=alice.caller.user).uuid,
        "unknown": uuid4(),
        "a stranger's": make_schedule().uuid,
        "malformed": "no-uuid",
    }[which]

    response = WAYS[way](alice, uuid, token=None)

    assert (response.status_code, response.json()) == (400, MISSING_TOKEN)


def test_without_a_token_the_list_has_only_schedules_that_no_user_owns(alice: ApiClient) -> None:
    make_schedule(alice.caller.command, name="unowned")
    make_schedule(alice.caller.command, name="owned", owner=alice.caller.user)
    make_schedule(name="a stranger's")

    assert _names(alice.get(PATH, token=None)) == {"unowned"}
    assert _names(alice.get(PATH)) == {"unowned", "owned"}


def test_a_schedule_created_without_an_owner_can_be_read_without_a_token(alice: ApiClient) -> None:
    by_command = {"name": "n", "command_uuid": str(alice.caller.command.uuid)}
    made = [
        alice.post(PATH, by_command, token=None).json()["uuid"],
        alice.post(PATH, {"name": "n", "is_owned_by_user": False}).json()["uuid"],
    ]

    assert [alice.get(f"{PATH}{uuid}/", token=None).status_code for uuid in made] == [200, 200]


@pytest.mark.parametrize("way", WAYS)
def test_a_void_token_reaches_nothing(alice: ApiClient, way: str) -> None:
    schedule = make_schedule(alice.caller.command)
    manager = _unbound_key(alice, "MANAGE")

    for key in (alice.caller.key, manager):
        response = WAYS[way](alice, schedule.uuid, key=key, token="void")
        assert (response.status_code, response.json()) == (400, MISSING_TOKEN)


@pytest.mark.parametrize("way", WAYS)
def test_a_manager_reaches_all_of_its_organization_without_a_token(alice: ApiClient, way: str) -> None:
    command = _colleague(alice)
    owned = make_schedule(command, owner=alice.caller.user)
    key = make_api_key(alice.caller.organization, scopes=["SCHEDULING", "MANAGE"])[1]

    assert WAYS[way](alice, owned.uuid, key=key, token=None).status_code in {200, 204}
    assert WAYS[way](alice, make_schedule().uuid, key=key, token=None).json() == NOT_FOUND


def test_a_manager_lists_all_of_its_organization(alice: ApiClient) -> None:
    make_schedule(_colleague(alice), name="another command's", owner=alice.caller.user)
    make_schedule(alice.caller.command, name="own")
    make_schedule(name="a stranger's")

    assert _names(alice.get(PATH, key=_unbound_key(alice, "MANAGE"), token=None)) == {"own", "another command's"}


def test_a_colleagues_token_reaches_the_schedules_of_the_same_command_as_documented(alice: ApiClient) -> None:
    schedule = make_schedule(alice.caller.command, owner=alice.caller.user)
    colleague = make_token(alice.caller.command, make_user(alice.caller.organization))

    assert alice.get(f"{PATH}{schedule.uuid}/", token=colleague).status_code == 200


def _foreign_schedule(alice: ApiClient, mallory: ApiClient) -> ScheduledExecution:
    """Makes a schedule of Mallory's public command in Alice's organization."""
    Command.objects.filter(pk=mallory.caller.command.pk).update(is_public=True)
    return make_schedule(mallory.caller.command, organization=alice.caller.organization, owner=alice.caller.user)


def test_a_manager_sees_pauses_and_deletes_the_schedules_of_a_foreign_command(
    alice: ApiClient, mallory: ApiClient
) -> None:
    schedule = _foreign_schedule(alice, mallory)
    how: dict[str, Any] = {"key": _unbound_key(alice, "MANAGE"), "token": None}

    assert _names(alice.get(PATH, **how)) == {"report"}
    assert alice.get(f"{PATH}{schedule.uuid}/slots/", **how).status_code == 200
    assert alice.patch(f"{PATH}{schedule.uuid}/", {"is_active": False}, **how).json()["is_active"] is False
    assert alice.delete(f"{PATH}{schedule.uuid}/", **how).status_code == 204


@pytest.mark.parametrize("changes", [{"callback_url": "http://127.0.0.1:9000/mine"}, {"is_active": True}, {}])
def test_a_manager_cannot_change_or_redeliver_the_schedules_of_a_foreign_command(
    alice: ApiClient, mallory: ApiClient, changes: dict[str, Any]
) -> None:
    schedule = _foreign_schedule(alice, mallory)
    slot = make_delivery(
        mallory.caller.command,
        organization=alice.caller.organization,
        source_uuid=schedule.uuid,
        state=State.FAILED,
        reason="rejected",
        next_attempt_at=None,
        finished_at=schedule.created_at,
    )
    how: dict[str, Any] = {"key": _unbound_key(alice, "MANAGE"), "token": None}

    for response in (
        alice.put(f"{PATH}{schedule.uuid}/", changes, **how),
        alice.post(f"{PATH}{schedule.uuid}/redeliver/", _span(), **how),
        alice.post(f"{PATH}{schedule.uuid}/slots/{slot.pk}/redeliver/", **how),
    ):
        assert response.status_code == 403
        assert response.json()["code"] == "permission_denied"


def test_a_key_without_manage_does_not_see_the_schedules_of_a_foreign_command(
    alice: ApiClient, mallory: ApiClient
) -> None:
    schedule = _foreign_schedule(alice, mallory)

    for key in (alice.caller.key, _unbound_key(alice)):
        assert alice.get(f"{PATH}{schedule.uuid}/", key=key).status_code == 404
        assert _names(alice.get(PATH, key=key)) == set()
