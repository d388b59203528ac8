"""Managing API keys."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from auth_tokens.models import ApiKey
from commands_platform.lib import clock
from commands_platform.lib.instants import format_instant
from tests.api import ApiClient
from tests.audit.changes import changes_of, last_change_of
from tests.directory.managers import errors_of, refused
from tests.factories import make_api_key, make_command, make_user

pytestmark = pytest.mark.django_db

KEYS = "/v1/platform/api-keys/"


def make(client: ApiClient, **values: Any) -> Any:
    response = client.post(KEYS, {"name": "deploy", "scopes": ["STORAGE"], **values})
    assert response.status_code == 201, response.content
    return response.json()


def works(client: ApiClient, key: str) -> bool:
    return client.get("/v1/platform/scheduling/", key=key, token=None).status_code != 401


def test_a_manager_makes_a_key_that_only_this_answer_shows(manager: ApiClient, alice: ApiClient) -> None:
    owner = make_user(alice.caller.organization)
    expires_at = format_instant(clock.now() + timedelta(days=30))
    response = manager.post(
        KEYS,
        {
            "name": "deploy",
            "scopes": ["SCHEDULING", "DIRECTORY"],
            "command_uuid": str(alice.caller.command.uuid),
            "owner_uuid": str(owner.uuid),
            "expires_at": expires_at,
        },
    )

    answer = response.json()
    key = answer.pop("key")
    row = ApiKey.objects.get(name="deploy")
    assert response.status_code == 201
    assert response["Cache-Control"] == "no-store"
    assert answer == manager.get(f"{KEYS}{row.uuid}/").json()
    assert answer == {
        "uuid": str(row.uuid),
        "name": "deploy",
        "prefix": row.prefix,
        "scopes": ["SCHEDULING", "DIRECTORY"],
        "command_uuid": str(alice.caller.command.uuid),
        "owner_uuid": str(owner.uuid),
        "allowed_networks": [],
        "replaces_uuid": None,
        "created_at": format_instant(row.created_at),
        "expires_at": expires_at,
        "revoked_at": None,
        "last_used_at": None,
    }
    assert manager.get("/v1/me/", key=key, token=None).json()["uuid"] == str(owner.uuid)
    assert key not in manager.get(KEYS).content.decode()
    assert last_change_of(row).actor_uuid == manager.caller.api_key.uuid


def test_keys_are_filtered(manager: ApiClient, alice: ApiClient) -> None:
    command, made = alice.caller.command, make(manager)

    for query, uuids in (
        ("scope=STORAGE&q=DEPL", [made["uuid"]]),
        (f"command_uuid={command.uuid}", [str(alice.caller.api_key.uuid)]),
        (f"owner_uuid={alice.caller.user.uuid}", []),
    ):
        assert [each["uuid"] for each in manager.get(f"{KEYS}?{query}").json()["results"]] == uuids


def test_a_key_cannot_give_scopes_that_it_does_not_have(alice: ApiClient) -> None:
    weak = ApiClient(alice.caller.with_scopes("MANAGE", "STORAGE"))
    strong, _ = make_api_key(alice.caller.organization, scopes=["SCHEDULING"])

    for response in (
        weak.post(KEYS, {"name": "mine", "scopes": ["STORAGE", "SCHEDULING"]}),
        weak.patch(f"{KEYS}{weak.caller.api_key.uuid}/", {"scopes": ["MANAGE", "SCHEDULING"]}),
        weak.post(f"{KEYS}{strong.uuid}/rotate/", {}),
    ):
        assert errors_of(response) == {
            "scopes": ["Your API key cannot give scopes that it does not have itself: SCHEDULING."]
        }
    assert make(weak, scopes=["STORAGE", "MANAGE"])["scopes"] == ["STORAGE", "MANAGE"]
    assert weak.patch(f"{KEYS}{strong.uuid}/", {"scopes": ["SCHEDULING", "STORAGE"]}).status_code == 200


def test_a_key_that_is_bound_to_a_command_cannot_manage(manager: ApiClient, alice: ApiClient) -> None:
    command = alice.caller.command
    message = ["A key that is bound to a command cannot have the scope MANAGE."]

    body = {"name": "mine", "scopes": ["MANAGE"], "command_uuid": str(command.uuid)}
    assert errors_of(manager.post(KEYS, body)) == {"scopes": message}
    bound = f"{KEYS}{alice.caller.api_key.uuid}/"
    assert errors_of(manager.patch(bound, {"scopes": ["MANAGE"]})) == {"scopes": message}
    with pytest.raises(IntegrityError), transaction.atomic():
        ApiKey.objects.filter(pk=alice.caller.api_key.pk).update(scopes=["MANAGE"])


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"name": None}, "name"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["EVERYTHING"]}, "scopes.0"),
        ({"scopes": "STORAGE"}, "scopes"),
        ({"command_uuid": "8f2e6a38-53c1-4f3c-9a51-0d6f4b6a1c11"}, "command_uuid"),
        ({"owner_uuid": "8f2e6a38-53c1-4f3c-9a51-0d6f4b6a1c11"}, "owner_uuid"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"allowed_networks": ["203.0.113.1/24"]}, "allowed_networks"),
        ({"allowed_networks": ["everywhere"]}, "allowed_networks"),
        ({"allowed_networks": ["10.0.0.0/8"] * 101}, "allowed_networks"),
    ],
)
def test_a_wrong_value_is_refused(manager: ApiClient, given: dict[str, Any], field: str) -> None:
    response = manager.post(KEYS, {"name": "deploy", "scopes": ["STORAGE"], **given})

    assert list(errors_of(response)) == [field]


def test_a_strangers_command_and_user_are_refused(manager: ApiClient, mallory: ApiClient) -> None:
    foreign = {"command_uuid": str(mallory.caller.command.uuid), "owner_uuid": str(mallory.caller.user.uuid)}

    response = manager.post(KEYS, {"name": "deploy", "scopes": ["STORAGE"], **foreign})

    assert set(errors_of(response)) == {"command_uuid", "owner_uuid"}


def test_a_limited_key_works_from_its_networks_only(manager: ApiClient) -> None:
    there = make(manager, scopes=["STORAGE"], allowed_networks=["203.0.113.0/24"])
    here = make(manager, scopes=["SCHEDULING"], allowed_networks=["203.0.113.7", "127.0.0.1"])

    response = manager.get("/v1/platform/scheduling/", key=there["key"], token=None)

    assert refused(response) == (403, "address_not_allowed")
    assert here["allowed_networks"] == ["203.0.113.7/32", "127.0.0.1/32"]
    assert manager.get("/v1/platform/scheduling/", key=here["key"], token=None).status_code == 200
    assert ApiKey.objects.get(uuid=there["uuid"]).last_used_at is None


def test_networks_can_be_changed(manager: ApiClient) -> None:
    made = make(manager, scopes=["SCHEDULING"], allowed_networks=["203.0.113.0/24"])

    manager.patch(f"{KEYS}{made['uuid']}/", {"allowed_networks": ["127.0.0.0/8"], "name": "local"})

    assert manager.get("/v1/platform/scheduling/", key=made["key"], token=None).status_code == 200
    change = last_change_of(ApiKey.objects.get(uuid=made["uuid"]))
    assert (change.old, change.new) == (
        {"name": "deploy", "allowed_networks": ["203.0.113.0/24"]},
        {"name": "local", "allowed_networks": ["127.0.0.0/8"]},
    )


def test_a_rotated_key_works_until_the_overlap_is_over(manager: ApiClient) -> None:
    old = make(manager, scopes=["SCHEDULING"], allowed_networks=["127.0.0.1/32"])

    response = manager.post(f"{KEYS}{old['uuid']}/rotate/", {"overlap_seconds": 3600})

    new = response.json()
    assert response.status_code == 201
    assert new["replaces_uuid"] == old["uuid"]
    copied = ("name", "scopes", "command_uuid", "owner_uuid", "allowed_networks", "expires_at")
    assert {field: new[field] for field in copied} == {field: old[field] for field in copied}
    assert works(manager, old["key"])
    assert works(manager, new["key"])
    row = ApiKey.objects.get(uuid=old["uuid"])
    assert row.expires_at is not None
    assert 3500 < (row.expires_at - clock.now()).total_seconds() <= 3600
    assert last_change_of(row).verb == "rotated"


def test_without_an_overlap_the_old_key_stops_at_once(manager: ApiClient) -> None:
    old = make(manager)

    new = manager.post(f"{KEYS}{old['uuid']}/rotate/", {"overlap_seconds": 0}).json()

    assert not works(manager, old["key"])
    assert works(manager, new["key"])


def test_a_key_with_an_expiry_is_replaced_by_one_that_lives_as_long(manager: ApiClient) -> None:
    old = make(manager, expires_at=format_instant(clock.now() + timedelta(days=30)))
    ApiKey.objects.filter(uuid=old["uuid"]).update(created_at=clock.now() - timedelta(days=20))

    new = manager.post(f"{KEYS}{old['uuid']}/rotate/", {"overlap_seconds": 604_800}).json()

    row, made = ApiKey.objects.get(uuid=old["uuid"]), ApiKey.objects.get(uuid=new["uuid"])
    assert row.expires_at is not None
    assert made.expires_at is not None
    assert timedelta(days=6) < row.expires_at - clock.now() < timedelta(days=7)
    assert timedelta(days=49) < made.expires_at - clock.now() < timedelta(days=51)


def test_a_key_that_expires_before_the_overlap_is_over_does_not_live_longer(manager: ApiClient) -> None:
    old = make(manager, expires_at=format_instant(clock.now() + timedelta(minutes=5)))

    manager.post(f"{KEYS}{old['uuid']}/rotate/", {})

    assert manager.get(f"{KEYS}{old['uuid']}/").json()["expires_at"] == old["expires_at"]


def test_a_revoked_key_stops_at_once_and_cannot_be_changed(manager: ApiClient) -> None:
    made = make(manager)

    first = manager.post(f"{KEYS}{made['uuid']}/revoke/", {})
    again = manager.post(f"{KEYS}{made['uuid']}/revoke/", {})

    assert first.status_code == 200
    assert first.json()["revoked_at"] is not None
    assert again.json() == first.json()
    assert not works(manager, made["key"])
    assert refused(manager.patch(f"{KEYS}{made['uuid']}/", {"name": "x"})) == (409, "api_key_revoked")
    assert refused(manager.post(f"{KEYS}{made['uuid']}/rotate/", {})) == (409, "api_key_revoked")
    verbs = [change.verb for change in changes_of(ApiKey.objects.get(uuid=made["uuid"]))]
    assert verbs == ["created", "revoked"]


def test_a_strangers_key_is_not_found(manager: ApiClient, foreign_manager: ApiClient) -> None:
    row = manager.caller.api_key

    for response in (
        foreign_manager.get(f"{KEYS}{row.uuid}/"),
        foreign_manager.patch(f"{KEYS}{row.uuid}/", {"name": "mine"}),
        foreign_manager.post(f"{KEYS}{row.uuid}/rotate/", {}),
        foreign_manager.post(f"{KEYS}{row.uuid}/revoke/", {}),
    ):
        assert refused(response) == (404, "not_found")
    assert str(row.uuid) not in foreign_manager.get(KEYS).content.decode()
    assert works(manager, manager.caller.key)


def test_keys_need_the_scope_to_manage_and_a_key(alice: ApiClient) -> None:
    detail = f"{KEYS}{alice.caller.api_key.uuid}/"

    for options, expected in (({}, (403, "insufficient_scope")), ({"key": None}, (401, "not_authenticated"))):
        for response in (
            alice.get(KEYS, **options),
            alice.post(KEYS, {"name": "mine", "scopes": ["STORAGE"]}, **options),
            alice.get(detail, **options),
            alice.patch(detail, {"name": "mine"}, **options),
            alice.post(f"{detail}rotate/", {}, **options),
            alice.post(f"{detail}revoke/", {}, **options),
        ):
            assert refused(response) == expected


def test_a_bound_key_of_another_command_may_be_made(manager: ApiClient) -> None:
    command = make_command(manager.caller.organization)

    assert make(manager, command_uuid=str(command.uuid))["command_uuid"] == str(command.uuid)
