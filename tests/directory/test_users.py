"""Creating and changing users."""

from __future__ import annotations

from typing import Any

import pytest

from events.models import OutboxEvent
from organizations.models import User
from scheduling.models import TimezoneType
from scheduling.walks import ZoneMove
from tests.api import ApiClient
from tests.audit.changes import last_change_of
from tests.directory.managers import errors_of, refused
from tests.factories import make_schedule, make_user

pytestmark = pytest.mark.django_db

USERS = "/v1/users/"


def test_a_manager_creates_a_user(manager: ApiClient) -> None:
    given = {"full_name": "Grace Hopper", "email": "grace@example.com", "role": "manager", "timezone": "Asia/Tokyo"}

    response = manager.post(USERS, given)

    user = User.objects.get(full_name="Grace Hopper")
    assert response.status_code == 201
    assert response.json() == {"uuid": str(user.uuid), **given, "is_active": True} | {"is_active": True}
    assert user.organization == manager.caller.organization
    assert last_change_of(user).actor_uuid == manager.caller.api_key.uuid


def test_only_the_name_of_a_new_user_is_required(manager: ApiClient) -> None:
    answer = manager.post(USERS, {"full_name": "Ada"}).json()

    assert {key: answer[key] for key in ("email", "role", "is_active", "timezone")} == {
        "email": "",
        "role": "member",
        "is_active": True,
        "timezone": "UTC",
    }
    assert "full_name" in errors_of(manager.post(USERS, {}))


def test_a_manager_changes_a_user(manager: ApiClient) -> None:
    user = make_user(manager.caller.organization)

    answer = manager.patch(f"{USERS}{user.uuid}/", {"role": "admin", "full_name": "Countess of Lovelace"}).json()

    assert (answer["role"], answer["full_name"], answer["email"]) == ("admin", "Countess of Lovelace", user.email)
    assert last_change_of(user).old == {"role": "member", "full_name": "Ada Lovelace"}


def test_null_takes_a_users_own_zone_away(manager: ApiClient) -> None:
    user = make_user(manager.caller.organization, timezone="Asia/Tokyo")

    assert manager.patch(f"{USERS}{user.uuid}/", {"timezone": None}).json()["timezone"] == "UTC"


def test_schedules_move_with_a_user_whose_zone_changes(manager: ApiClient) -> None:
    user = make_user(manager.caller.organization)
    make_schedule(manager.caller.command, owner=user, timezone_type=TimezoneType.USER, cron="0 9 * * *")

    manager.patch(f"{USERS}{user.uuid}/", {"timezone": "Asia/Tokyo"})

    assert ZoneMove.objects.filter(user=user).exists()


def test_the_deactivation_of_a_user_is_an_event_and_ends_their_tokens(manager: ApiClient) -> None:
    assert manager.post("/v1/platform/event-subscription/", {"subscriptions": ["organization.*"]}).status_code == 200
    user = manager.caller.user

    assert manager.patch(f"{USERS}{user.uuid}/", {"is_active": False}).json()["is_active"] is False

    assert OutboxEvent.objects.get().name == "organization.user_deactivated"
    assert manager.get("/v1/platform/activity/")["X-Exchange-Token-Status"] == "inactive"


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"full_name": ""}, "full_name"),
        ({"full_name": "a" * 201}, "full_name"),
        ({"full_name": "Ada\u202e"}, "full_name"),
        ({"email": "nonsense"}, "email"),
        ({"role": "king"}, "role"),
        ({"timezone": "Middle/Earth"}, "timezone"),
        ({"is_active": "yes"}, "is_active"),
    ],
)
def test_a_wrong_value_is_refused(manager: ApiClient, given: dict[str, Any], field: str) -> None:
    user = make_user(manager.caller.organization)

    for response in (manager.post(USERS, {"full_name": "Ada", **given}), manager.patch(f"{USERS}{user.uuid}/", given)):
        assert list(errors_of(response)) == [field]


def test_an_address_that_another_user_has_is_refused(manager: ApiClient, mallory: ApiClient) -> None:
    user = make_user(manager.caller.organization, email="ada@example.org")
    taken = {"email": ["Another user of the organization has this address."]}

    for response in (
        manager.post(USERS, {"full_name": "Ada", "email": "ADA@example.org"}),
        manager.patch(f"{USERS}{manager.caller.user.uuid}/", {"email": user.email}),
    ):
        assert errors_of(response) == taken
    assert manager.patch(f"{USERS}{user.uuid}/", {"email": "ADA@example.org"}).status_code == 200


def test_a_strangers_user_is_not_found(manager: ApiClient, foreign_manager: ApiClient) -> None:
    user = manager.caller.user

    response = foreign_manager.patch(f"{USERS}{user.uuid}/", {"full_name": "Mallory"})

    assert refused(response) == (404, "not_found")
    user.refresh_from_db()
    assert user.full_name != "Mallory"


def test_changing_users_needs_the_scope_to_manage(alice: ApiClient) -> None:
    reader = ApiClient(alice.caller.with_scopes("DIRECTORY"))

    assert refused(reader.post(USERS, {"full_name": "Ada"})) == (403, "insufficient_scope")
    assert refused(reader.patch(f"{USERS}{alice.caller.user.uuid}/", {})) == (403, "insufficient_scope")
    assert reader.get(USERS).status_code == 200


def test_changing_users_needs_a_key(alice: ApiClient) -> None:
    assert alice.post(USERS, {"full_name": "Ada"}, key=None).status_code == 401
    assert alice.patch(f"{USERS}{alice.caller.user.uuid}/", {}, key=None).status_code == 401
