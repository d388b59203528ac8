"""The endpoint for exchange tokens and the directory, over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
import time_machine

from commands_platform.lib import clock
from tests.api import ApiClient, make_caller
from tests.factories import make_api_key, make_installation, make_user
from tests.lib.hostile import HOSTILE_BODIES, HOSTILE_PATH_SEGMENTS, HOSTILE_QUERIES

FETCH = "/v1/auth/fetch-command-exchange-token/"
UNKNOWN = "8f2e6a38-53c1-4f3c-9a51-0d6f4b6a1c11"
pytestmark = pytest.mark.django_db
DIRECTORY = ["/v1/me/", "/v1/organization/", "/v1/users/"]


def test_a_user_is_exchanged_for_a_token_that_works(alice: ApiClient) -> None:
    response = alice.post(FETCH, {"user_uuid": str(alice.caller.user.uuid)}, token=None)

    assert response.status_code == 200
    assert list(response.json()) == ["token"]
    assert alice.get("/v1/platform/activity/", token=response.json()["token"]).status_code == 200


def test_with_context_the_answer_describes_the_user_and_their_organization(alice: ApiClient) -> None:
    user, organization = alice.caller.user, alice.caller.organization

    answer = alice.post(FETCH, {"user_uuid": str(user.uuid), "include_user_context": True}).json()

    assert list(answer) == ["token", "user", "organization"]
    assert answer["user"] == {
        "uuid": str(user.uuid),
        "full_name": user.full_name,
        "email": user.email,
        "role": "member",
        "is_active": True,
        "timezone": "UTC",
    }
    assert answer["organization"] == {
        "uuid": str(organization.uuid),
        "name": organization.name,
        "timezone": "UTC",
        "is_active": True,
    }


def test_the_expiry_is_returned_only_on_request(alice: ApiClient) -> None:
    now = datetime(2026, 3, 1, 12, tzinfo=UTC)
    body = {"user_uuid": str(alice.caller.user.uuid), "include_expiry": True, "include_user_context": True}
    with time_machine.travel(now, tick=False):
        answer = alice.post(FETCH, body).json()

    assert list(answer) == ["token", "expires_at", "user", "organization"]
    assert answer["expires_at"] == "2026-03-31T12:00:00Z"


def test_the_answer_with_a_token_must_not_be_cached(alice: ApiClient) -> None:
    response = alice.post(FETCH, {"user_uuid": str(alice.caller.user.uuid)})

    assert response["Cache-Control"] == "no-store"


def test_the_path_works_without_its_last_slash(alice: ApiClient) -> None:
    assert alice.post(FETCH[:-1], {"user_uuid": str(alice.caller.user.uuid)}).status_code == 200


@pytest.mark.parametrize("who", ["unknown", "inactive"])
def test_an_unknown_or_inactive_user_is_406_without_a_code(alice: ApiClient, who: str) -> None:
    uuid = UNKNOWN if who == "unknown" else str(make_user(alice.caller.organization, is_active=False).uuid)

    response = alice.post(FETCH, {"user_uuid": uuid})

    assert response.status_code == 406
    assert response.json() == {"detail": 'Could not find the user related to "user_uuid"'}


def test_a_private_command_cannot_act_for_another_organizations_user(alice: ApiClient, mallory: ApiClient) -> None:
    response = alice.post(FETCH, {"user_uuid": str(mallory.caller.user.uuid)})

    assert response.status_code == 406
    assert response.json() == {
        "detail": "Command is not Public and cannot request exchange tokens of non-same-org users"
    }


def test_a_public_command_can_act_for_users_where_it_is_installed(mallory: ApiClient) -> None:
    public = ApiClient(make_caller(is_public=True))
    make_installation(public.caller.command, mallory.caller.organization)

    response = public.post(FETCH, {"user_uuid": str(mallory.caller.user.uuid)})

    assert response.status_code == 200
    assert public.get("/v1/platform/activity/", token=response.json()["token"]).status_code == 200


@pytest.mark.parametrize("is_removed", [False, True])
def test_users_look_unknown_to_a_public_command_that_is_not_installed(mallory: ApiClient, is_removed: bool) -> None:
    public = ApiClient(make_caller(is_public=True))
    if is_removed:
        make_installation(public.caller.command, mallory.caller.organization, removed_at=clock.now())

    response = public.post(FETCH, {"user_uuid": str(mallory.caller.user.uuid)})

    assert response.status_code == 406
    assert response.json() == {"detail": 'Could not find the user related to "user_uuid"'}


def test_with_public_commands_everywhere_no_installation_is_needed(mallory: ApiClient, settings: Any) -> None:
    settings.PUBLIC_COMMANDS = "everywhere"
    public = ApiClient(make_caller(is_public=True))

    response = public.post(FETCH, {"user_uuid": str(mallory.caller.user.uuid)})

    assert response.status_code == 200
    assert public.get("/v1/platform/activity/", token=response.json()["token"]).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"user_uuid": None},
        {"user_uuid": "x"},
        {"user_uuid": 5},
        {"user_uuid": UNKNOWN, "include_user_context": "yes"},
        {"user_uuid": UNKNOWN, "include_expiry": "yes"},
    ],
)
def test_an_invalid_body_is_refused(alice: ApiClient, body: dict[str, object]) -> None:
    response = alice.post(FETCH, body)

    assert response.status_code == 400
    assert response.json()["code"] == "params_validation_error"


def test_the_key_must_be_bound_to_a_command(alice: ApiClient) -> None:
    _, key = make_api_key(alice.caller.organization)

    response = alice.post(FETCH, {"user_uuid": str(alice.caller.user.uuid)}, key=key)

    assert response.status_code == 400
    assert response.json()["code"] == "api_key_without_command"


def test_the_key_must_have_the_scope(alice: ApiClient) -> None:
    client = ApiClient(alice.caller.with_scopes("STORAGE"))

    for response in (client.post(FETCH, {}), *(client.get(path) for path in DIRECTORY)):
        assert response.status_code == 403
        assert response.json()["code"] == "insufficient_scope"


@pytest.mark.parametrize("path", [*DIRECTORY, f"/v1/users/{UNKNOWN}/"])
def test_the_directory_needs_a_key(alice: ApiClient, path: str) -> None:
    for each in (path, path[:-1]):
        response = alice.get(each, key=None)

        assert response.status_code == 401
        assert response.json()["code"] == "not_authenticated"


def test_me_describes_the_owner_of_the_key_in_dailybots_flat_shape(alice: ApiClient) -> None:
    owner = make_user(alice.caller.organization, full_name="Grace Hopper", role="admin", timezone="Asia/Tokyo")
    command, organization = alice.caller.command, alice.caller.organization
    _, key = make_api_key(command=command, owner=owner, scopes=["DIRECTORY", "STORAGE"])

    answer = alice.get("/v1/me/", key=key).json()

    token_user = answer.pop("token_user")
    assert token_user["uuid"] == str(alice.caller.user.uuid)
    assert answer == {
        "uuid": str(owner.uuid),
        "full_name": "Grace Hopper",
        "email": owner.email,
        "role": "admin",
        "timezone": "Asia/Tokyo",
        "is_active": True,
        "organization_uuid": str(organization.uuid),
        "organization_name": organization.name,
        "organization": {
            "uuid": str(organization.uuid),
            "name": organization.name,
            "timezone": "UTC",
            "is_active": True,
        },
        "user": "Grace Hopper",
        "command": {"uuid": str(command.uuid), "name": command.name},
        "scopes": ["DIRECTORY", "STORAGE"],
    }


def test_me_without_a_token_has_no_token_user(alice: ApiClient) -> None:
    assert alice.get("/v1/me", token=None).json()["token_user"] is None


def test_me_names_a_key_without_owner_after_the_key_its_command_or_its_organization(alice: ApiClient) -> None:
    organization, command = alice.caller.organization, alice.caller.command
    _, named = make_api_key(organization, name="CI")
    _, unnamed = make_api_key(organization)

    names = {key: alice.get("/v1/me/", key=key, token=None).json() for key in (named, unnamed, alice.caller.key)}

    assert names[named]["user"] == "CI"
    assert names[unnamed]["user"] == organization.name
    assert names[alice.caller.key]["user"] == command.name
    assert (names[named]["uuid"], names[named]["email"], names[named]["role"]) == (None, "", None)


def test_the_organization_of_the_key_is_returned(alice: ApiClient) -> None:
    answer = alice.get("/v1/organization").json()

    assert list(answer) == ["uuid", "name", "timezone", "is_active"]
    assert answer["uuid"] == str(alice.caller.organization.uuid)


def test_the_users_of_the_organization_are_listed_in_pages(alice: ApiClient, mallory: ApiClient) -> None:
    for name in ("Bea", "Cleo"):
        make_user(alice.caller.organization, full_name=name)

    answer = alice.get("/v1/users/?limit=2").json()

    assert answer["count"] == 3
    assert [user["full_name"] for user in answer["results"]] == ["Ada Lovelace", "Bea"]
    assert list(answer["results"][0]) == ["uuid", "full_name", "email", "role", "is_active", "timezone"]
    assert answer["previous"] is None
    assert "limit=2&offset=2" in answer["next"]
    assert str(mallory.caller.user.uuid) not in str(alice.get("/v1/users/").json())


def test_a_user_has_their_own_time_zone_or_that_of_their_organization(alice: ApiClient) -> None:
    alice.caller.organization.timezone = "Europe/Berlin"
    alice.caller.organization.save(update_fields=["timezone"])
    traveller = make_user(alice.caller.organization, timezone="Asia/Tokyo")

    assert alice.get(f"/v1/users/{alice.caller.user.uuid}/").json()["timezone"] == "Europe/Berlin"
    assert alice.get(f"/v1/users/{traveller.uuid}").json()["timezone"] == "Asia/Tokyo"


def test_a_strangers_user_is_not_found(alice: ApiClient, mallory: ApiClient) -> None:
    for uuid in (mallory.caller.user.uuid, uuid4()):
        response = alice.get(f"/v1/users/{uuid}/")

        assert response.status_code == 404
        assert response.json() == {"detail": "Not found.", "code": "not_found"}


def test_an_unknown_path_is_answered_in_json(alice: ApiClient) -> None:
    response = alice.get("/v1/nothing/here")

    assert response.status_code == 404
    assert response.json() == {"detail": "Not found.", "code": "not_found"}


@pytest.mark.parametrize("name", HOSTILE_BODIES)
def test_a_hostile_body_gets_a_clear_error(alice: ApiClient, name: str) -> None:
    response = alice.request("POST", FETCH, raw=HOSTILE_BODIES[name])

    assert 400 <= response.status_code < 500
    assert "detail" in response.json()


@pytest.mark.parametrize("query", HOSTILE_QUERIES)
def test_a_hostile_query_gets_a_clear_answer(alice: ApiClient, query: str) -> None:
    for path in DIRECTORY:
        assert alice.get(f"{path}?{query}").status_code < 500


@pytest.mark.parametrize("segment", HOSTILE_PATH_SEGMENTS)
def test_a_hostile_path_gets_a_clear_answer(alice: ApiClient, segment: str) -> None:
    response = alice.get(f"/v1/users/{segment}/")

    assert response.status_code in {400, 404}
    assert "detail" in response.json()
