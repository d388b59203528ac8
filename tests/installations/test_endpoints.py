"""`/v1/platform/installations/`: which public commands an organization lets act in it."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from organizations.models import Command, Installation
from tests.api import ApiClient, make_caller
from tests.factories import make_api_key, make_command, make_installation, make_organization, make_token
from tests.lib.hostile import HOSTILE_BODIES, HOSTILE_PATH_SEGMENTS

PATH = "/v1/platform/installations/"
pytestmark = pytest.mark.django_db
ALL_SCOPES = ["SCHEDULING", "STORAGE", "EVENT_SUBSCRIPTION", "ACTIVITY"]


class Manager(ApiClient):
    """Calls with a key that may manage the caller's organization, and without a token."""

    def request(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        return super().request(method, path, body, **{"token": None, "key": self.key, **options})

    @property
    def key(self) -> str:
        return make_api_key(self.caller.organization, scopes=["MANAGE", "SCHEDULING"])[1]


@pytest.fixture
def manager(alice: ApiClient) -> Manager:
    return Manager(alice.caller)


@pytest.fixture
def guest() -> ApiClient:
    """A public command of another organization, with a key of its own."""
    return ApiClient(make_caller(is_public=True))


def test_by_default_a_command_is_installed_with_every_scope_and_event(manager: Manager, guest: ApiClient) -> None:
    command = guest.caller.command

    response = manager.post(PATH, {"command_uuid": str(command.uuid)})

    assert response.status_code == 201
    answer = response.json()
    installation = Installation.objects.get()
    assert list(answer) == ["uuid", "command", "scopes", "events", "installed_at"]
    assert answer["uuid"] == str(installation.uuid)
    assert answer["command"] == {
        "uuid": str(command.uuid),
        "name": command.name,
        "organization_name": guest.caller.organization.name,
    }
    assert (answer["scopes"], answer["events"]) == (ALL_SCOPES, ["*"])
    assert manager.get(f"{PATH}{answer['uuid']}/").json() == answer
    assert manager.get(PATH).json()["results"] == [answer]


def test_an_installation_can_be_restricted_and_changed(manager: Manager, guest: ApiClient) -> None:
    body = {"command_uuid": str(guest.caller.command.uuid), "scopes": ["STORAGE"], "events": []}
    path = f"{PATH}{manager.post(PATH, body).json()['uuid']}/"

    changed = manager.patch(path, {"events": ["forms.*"]}).json()

    assert (changed["scopes"], changed["events"]) == (["STORAGE"], ["forms.*"])
    assert manager.patch(path, {"scopes": []}).json()["scopes"] == []


def test_a_command_can_be_installed_only_once(manager: Manager, guest: ApiClient) -> None:
    body = {"command_uuid": str(guest.caller.command.uuid)}
    manager.post(PATH, body)

    response = manager.post(PATH, body)

    assert response.status_code == 409
    assert response.json()["code"] == "already_installed"


@pytest.mark.parametrize("which", ["private", "inactive", "own", "unknown", "of an inactive organization"])
def test_only_another_organizations_active_public_command_can_be_installed(manager: Manager, which: str) -> None:
    commands = {
        "private": make_command(),
        "inactive": make_command(is_public=True, is_active=False),
        "own": make_command(manager.caller.organization, is_public=True),
        "of an inactive organization": make_command(make_organization(is_active=False), is_public=True),
    }
    uuid = commands[which].uuid if which in commands else uuid4()

    response = manager.post(PATH, {"command_uuid": str(uuid)})

    assert response.status_code == 400
    assert list(response.json()["errors"]) == ["command_uuid"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"command_uuid": "x"},
        {"scopes": ["MANAGE"]},
        {"scopes": "STORAGE"},
        {"events": ["Not.A.Name"]},
        {"events": ["a"] * 101},
        {"events": None},
    ],
)
def test_an_invalid_body_is_refused(manager: Manager, guest: ApiClient, body: dict[str, Any]) -> None:
    command = {} if not body else {"command_uuid": str(guest.caller.command.uuid)}

    response = manager.post(PATH, {**command, **body})

    assert response.status_code == 400
    assert response.json()["code"] == "params_validation_error"


def test_a_removed_installation_is_not_found(manager: Manager, guest: ApiClient) -> None:
    path = f"{PATH}{manager.post(PATH, {'command_uuid': str(guest.caller.command.uuid)}).json()['uuid']}/"

    assert manager.delete(path).status_code == 204

    assert manager.get(path).status_code == manager.delete(path).status_code == 404
    assert manager.get(PATH).json()["results"] == []


def test_the_hooks_of_an_installed_command_are_listed(manager: Manager, guest: ApiClient) -> None:
    installation = make_installation(guest.caller.command, manager.caller.organization)
    token = make_token(guest.caller.command, manager.caller.user)
    hook = guest.post("/v1/platform/event-subscription/", {"subscriptions": ["forms.*"]}, token=token).json()
    guest.post("/v1/platform/event-subscription/", {"subscriptions": ["*"]})

    (shown,) = manager.get(f"{PATH}{installation.uuid}/hooks/").json()["results"]

    assert shown["hook_uuid"] == hook["hook_uuid"]
    assert shown["user_uuid"] == str(manager.caller.user.uuid)
    assert (shown["subscriptions"], shown["subscribed_objects"]) == (["forms.*"], [])


def _calls(uuid: object) -> list[tuple[str, str]]:
    one = f"{PATH}{uuid}/"
    return [("GET", one), ("PATCH", one), ("DELETE", one), ("GET", f"{one}hooks/")]


def test_a_strangers_installation_is_not_found(manager: Manager, guest: ApiClient, mallory: ApiClient) -> None:
    installation = make_installation(guest.caller.command, mallory.caller.organization)

    for method, path in _calls(installation.uuid):
        assert manager.request(method, path, {"events": []}).status_code == 404
    assert manager.get(PATH).json()["results"] == []


def test_a_key_with_the_scope_is_needed(alice: ApiClient) -> None:
    for method, path in [("GET", PATH), ("POST", PATH), *_calls(uuid4())]:
        assert alice.request(method, path, {}, key=None).status_code == 401
        assert alice.request(method, path, {}).json()["code"] == "insufficient_scope"


@pytest.mark.parametrize("name", HOSTILE_BODIES)
def test_a_hostile_body_gets_a_clear_error(manager: Manager, name: str) -> None:
    response = manager.request("POST", PATH, raw=HOSTILE_BODIES[name])

    assert 400 <= response.status_code < 500


@pytest.mark.parametrize("segment", HOSTILE_PATH_SEGMENTS)
def test_a_hostile_path_gets_a_clear_answer(manager: Manager, segment: str) -> None:
    assert manager.get(f"{PATH}{segment}/").status_code in {400, 404}


SCHEDULING = "/v1/platform/scheduling/"


def _calls_by_scope(client: ApiClient, token: str) -> dict[str, int]:
    storage = {"op": "set", "params": {"key": "k", "value": 1}}
    return {
        "SCHEDULING": client.post(SCHEDULING, {"name": "n"}, token=token).status_code,
        "STORAGE": client.post("/v1/platform/storage/", storage, token=token).status_code,
        "EVENT_SUBSCRIPTION": client.post(
            "/v1/platform/event-subscription/", {"subscriptions": ["*"]}, token=token
        ).status_code,
        "ACTIVITY": client.get("/v1/platform/activity/", token=token).status_code,
    }


@pytest.mark.parametrize("scope", ALL_SCOPES)
def test_a_foreign_command_may_do_what_the_installation_allows(alice: ApiClient, guest: ApiClient, scope: str) -> None:
    make_installation(guest.caller.command, alice.caller.organization, scopes=[scope])
    token = make_token(guest.caller.command, alice.caller.user)

    assert _calls_by_scope(guest, token) == {each: 200 if each == scope else 403 for each in ALL_SCOPES}
    # In its own organization it may do whatever its key may.
    assert set(_calls_by_scope(guest, guest.caller.token).values()) == {200}


def test_a_foreign_command_may_subscribe_only_to_the_events_of_its_installation(
    alice: ApiClient, guest: ApiClient
) -> None:
    make_installation(guest.caller.command, alice.caller.organization, events=["forms.*", "kudos.posted"])
    token = make_token(guest.caller.command, alice.caller.user)

    for pattern, status in {
        "forms.response.created": 200, "forms.response.*": 200, "forms.*": 200, "kudos.posted": 200,
        "kudos.*": 400, "*": 400, "forms": 400,
    }.items():  # fmt: skip
        response = guest.post("/v1/platform/event-subscription/", {"subscriptions": [pattern]}, token=token)
        assert response.status_code == status, pattern


def test_a_command_that_is_no_longer_public_cannot_act_elsewhere(alice: ApiClient, guest: ApiClient) -> None:
    make_installation(guest.caller.command, alice.caller.organization)
    token = make_token(guest.caller.command, alice.caller.user)
    Command.objects.filter(pk=guest.caller.command.pk).update(is_public=False)

    assert guest.post(SCHEDULING, {"name": "n"}, token=token)["X-Exchange-Token-Status"] == "revoked"
