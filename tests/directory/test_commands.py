"""Managing commands."""

from __future__ import annotations

from typing import Any

import pytest

from commands_platform.lib import clock
from organizations.models import Command
from tests.api import ApiClient
from tests.audit.changes import changes_of, last_change_of
from tests.directory.managers import errors_of, refused
from tests.factories import make_command

pytestmark = pytest.mark.django_db

COMMANDS = "/v1/platform/commands/"
URL = "http://127.0.0.1:9000/callback"


def paths(command: Command) -> list[str]:
    """Returns the paths of the actions on a command."""
    return [f"{COMMANDS}{command.uuid}/{action}/" for action in ("rotate-secret", "rotate-signature", "revoke-tokens")]


def test_a_manager_creates_a_command_and_sees_its_secrets_once(manager: ApiClient) -> None:
    response = manager.post(COMMANDS, {"name": "standup", "callback_url": URL})

    command = Command.objects.get(name="standup")
    answer = response.json()
    assert response.status_code == 201
    assert response["Cache-Control"] == "no-store"
    assert (answer.pop("signing_secret"), answer.pop("signature")) == (command.signing_secret, command.signature)
    assert command.organization == manager.caller.organization
    assert manager.get(f"{COMMANDS}{command.uuid}/").json() == answer
    assert {key: answer[key] for key in ("uuid", "name", "callback_url", "is_public", "is_active")} == {
        "uuid": str(command.uuid),
        "name": "standup",
        "callback_url": URL,
        "is_public": False,
        "is_active": True,
    }
    assert last_change_of(command).actor_uuid == manager.caller.api_key.uuid


def test_the_commands_are_listed_in_pages_and_without_secrets(manager: ApiClient) -> None:
    make_command(manager.caller.organization, name="zebra")
    make_command()

    answer = manager.get(f"{COMMANDS}?limit=1&offset=1").json()

    assert (answer["count"], [each["name"] for each in answer["results"]]) == (2, ["zebra"])
    assert not any("secret" in key and key != "previous_secret_expires_at" for key in answer["results"][0])


def test_commands_are_filtered(manager: ApiClient) -> None:
    make_command(manager.caller.organization, name="standup", is_public=True)

    for query, names in (("is_public=true", ["standup"]), ("q=TAND", ["standup"]), ("is_active=false", [])):
        assert [each["name"] for each in manager.get(f"{COMMANDS}?{query}").json()["results"]] == names


def test_a_manager_changes_a_command(manager: ApiClient) -> None:
    command = make_command(manager.caller.organization, callback_url=URL)

    answer = manager.patch(f"{COMMANDS}{command.uuid}/", {"callback_url": None, "is_public": True}).json()

    assert (answer["callback_url"], answer["is_public"], answer["name"]) == (None, True, command.name)
    change = last_change_of(command)
    assert (change.old["callback_url"]["origin"], change.new["callback_url"]) == ("http://127.0.0.1:9000", "")


def test_the_keys_of_an_inactive_command_do_not_work(manager: ApiClient, alice: ApiClient) -> None:
    manager.patch(f"{COMMANDS}{alice.caller.command.uuid}/", {"is_active": False})

    assert refused(alice.get("/v1/me/")) == (401, "authentication_failed")


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "a" * 101}, "name"),
        ({"callback_url": "nonsense"}, "callback_url"),
        ({"callback_url": "http://169.254.169.254/"}, "callback_url"),
        ({"callback_url": "http://127.0.0.1/" + "a" * 2048}, "callback_url"),
        ({"is_public": 1}, "is_public"),
    ],
)
def test_a_wrong_value_is_refused(manager: ApiClient, given: dict[str, Any], field: str) -> None:
    command = make_command(manager.caller.organization)

    for response in (
        manager.post(COMMANDS, {"name": "standup", **given}),
        manager.patch(f"{COMMANDS}{command.uuid}/", given),
    ):
        assert list(errors_of(response)) == [field]


def test_a_name_that_another_command_has_is_refused(manager: ApiClient) -> None:
    command = make_command(manager.caller.organization)
    taken = {"name": ["Another command of the organization has this name."]}

    assert errors_of(manager.post(COMMANDS, {"name": command.name})) == taken
    assert errors_of(manager.patch(f"{COMMANDS}{manager.caller.command.uuid}/", {"name": command.name})) == taken


def test_a_signing_secret_is_rotated_with_an_overlap(manager: ApiClient) -> None:
    command = make_command(manager.caller.organization)

    response = manager.post(f"{COMMANDS}{command.uuid}/rotate-secret/", {"overlap_seconds": 3600})

    rotated = Command.objects.get(pk=command.pk)
    assert response["Cache-Control"] == "no-store"
    assert response.json()["signing_secret"] == rotated.signing_secret != command.signing_secret
    assert rotated.previous_signing_secret == command.signing_secret
    assert rotated.previous_secret_expires_at is not None
    assert 3500 < (rotated.previous_secret_expires_at - clock.now()).total_seconds() <= 3600
    shown = manager.get(f"{COMMANDS}{command.uuid}/").json()["previous_secret_expires_at"]
    assert shown == response.json()["previous_secret_expires_at"]


def test_a_static_signature_is_rotated_without_an_overlap_if_it_has_leaked(manager: ApiClient) -> None:
    command = make_command(manager.caller.organization)

    answer = manager.post(f"{COMMANDS}{command.uuid}/rotate-signature/", {"overlap_seconds": 0}).json()

    rotated = Command.objects.get(pk=command.pk)
    assert answer == {"signature": rotated.signature, "previous_signature_expires_at": None}
    assert rotated.signature != command.signature
    assert rotated.previous_signature == ""


@pytest.mark.parametrize("overlap", [-1, 2_592_001, "3600", 1.5])
def test_a_wrong_overlap_is_refused(manager: ApiClient, overlap: object) -> None:
    path = f"{COMMANDS}{manager.caller.command.uuid}/rotate-secret/"

    assert "overlap_seconds" in errors_of(manager.post(path, {"overlap_seconds": overlap}))


def test_the_tokens_of_a_command_are_revoked(manager: ApiClient, alice: ApiClient) -> None:
    response = manager.post(f"{COMMANDS}{alice.caller.command.uuid}/revoke-tokens/")

    assert response.status_code == 204
    assert alice.get("/v1/platform/activity/")["X-Exchange-Token-Status"] == "revoked"
    assert last_change_of(alice.caller.command).verb == "tokens_revoked"


def test_a_strangers_command_is_not_found(manager: ApiClient, foreign_manager: ApiClient) -> None:
    command = manager.caller.command
    detail = f"{COMMANDS}{command.uuid}/"

    for response in (
        foreign_manager.get(detail),
        foreign_manager.patch(detail, {"name": "mine"}),
        *(foreign_manager.post(path, {}) for path in paths(command)),
    ):
        assert refused(response) == (404, "not_found")
    assert changes_of(command) == []
    assert command.name not in foreign_manager.get(COMMANDS).content.decode()


def test_commands_need_the_scope_to_manage_and_a_key(alice: ApiClient) -> None:
    command = alice.caller.command
    detail = f"{COMMANDS}{command.uuid}/"

    for options, expected in (({}, (403, "insufficient_scope")), ({"key": None}, (401, "not_authenticated"))):
        for response in (
            alice.get(COMMANDS, **options),
            alice.post(COMMANDS, {"name": "mine"}, **options),
            alice.get(detail, **options),
            alice.patch(detail, {"name": "mine"}, **options),
            *(alice.post(path, {}, **options) for path in paths(command)),
        ):
            assert refused(response) == expected
