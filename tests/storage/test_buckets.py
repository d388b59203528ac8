"""The buckets of items, and who can reach them."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from auth_tokens import services as auth_services
from organizations import services as organization_services
from organizations.models import User
from storage.models import Item
from tests.api import ApiClient, Caller, make_caller
from tests.factories import make_api_key, make_command, make_installation, make_token, make_user
from tests.storage.calls import PATH, call, put, read


def test_a_stranger_cannot_read_items(alice: ApiClient, mallory: ApiClient) -> None:
    put(alice, "k", "alice's")
    put(alice, "k", "alice's", namespace="shared")

    assert read(mallory, "k") is None
    assert read(mallory, "k", namespace="shared") is None
    assert read(mallory, "k", namespace="shared", token=None) is None


def test_a_stranger_cannot_change_items(alice: ApiClient, mallory: ApiClient) -> None:
    put(alice, "k", "alice's", namespace="shared", token=None)

    put(mallory, "k", "mallory's", namespace="shared", token=None)
    call(mallory, "delete", {"key": "k"}, namespace="shared", token=None)
    call(mallory, "delete_many", {"keys": ["k"]}, namespace="shared", token=None)

    assert read(alice, "k", namespace="shared", token=None) == "alice's"


def test_a_strangers_token_counts_as_missing(alice: ApiClient, mallory: ApiClient) -> None:
    put(alice, "k", "alice's")

    response = call(mallory, "get", {"key": "k"}, token=alice.caller.token)

    assert response.status_code == 400
    assert response.json()["code"] == "missing_context"


def test_a_strangers_token_gives_no_access_to_a_namespace(alice: ApiClient, mallory: ApiClient) -> None:
    put(alice, "k", "alice's", namespace="n")
    put(mallory, "k", "mallory's", namespace="n", token=None)

    response = call(mallory, "get", {"key": "k"}, namespace="n", token=alice.caller.token)

    assert response.status_code == 400
    assert response.json()["code"] == "missing_token"


def test_a_token_alone_selects_the_items_of_its_command_and_user(alice: ApiClient) -> None:
    command, user = alice.caller.command, alice.caller.user
    colleague = make_user(alice.caller.organization)
    other_command = make_command(alice.caller.organization)
    _row, organizations_key = make_api_key(alice.caller.organization)
    put(alice, "k", "mine")

    assert read(alice, "k", token=make_token(command, user)) == "mine"
    assert read(alice, "k", token=make_token(command, colleague)) is None
    assert read(alice, "k", key=organizations_key) == "mine"
    assert read(alice, "k", key=organizations_key, token=make_token(other_command, user)) is None


def test_a_namespace_alone_selects_a_bucket_of_the_keys_organization(alice: ApiClient) -> None:
    _row, another_key = make_api_key(alice.caller.organization)
    put(alice, "k", "the organization's", namespace="n", token=None)

    assert read(alice, "k", namespace="n", token=None, key=another_key) == "the organization's"
    assert read(alice, "k", namespace="m", token=None) is None


def test_a_namespace_with_a_token_selects_a_bucket_of_its_command_and_user(alice: ApiClient) -> None:
    colleague = make_token(alice.caller.command, make_user(alice.caller.organization))
    put(alice, "k", "mine", namespace="n")

    assert read(alice, "k", namespace="n") == "mine"
    assert read(alice, "k", namespace="m") is None
    assert read(alice, "k", namespace="n", token=colleague) is None
    assert read(alice, "k", namespace="n", token=None) is None
    assert read(alice, "k") is None


def test_a_token_without_a_user_selects_the_commands_own_items(alice: ApiClient) -> None:
    commands_own = make_token(alice.caller.command)
    put(alice, "k", "the command's", token=commands_own)

    assert read(alice, "k", token=make_token(alice.caller.command)) == "the command's"
    assert read(alice, "k") is None


def test_buckets_of_different_kinds_do_not_share_values(alice: ApiClient) -> None:
    """Uses the same key in all five kinds of buckets. Each operation must act on its own bucket only."""
    commands_own = make_token(alice.caller.command)
    buckets: list[tuple[str | None, str | None]] = [
        (alice.caller.token, None), (alice.caller.token, "n"), (commands_own, None), (commands_own, "n"), (None, "n"),
    ]  # fmt: skip
    for number, (token, namespace) in enumerate(buckets):
        put(alice, "k", number, token=token, namespace=namespace)
        put(alice, "k", number, token=token, namespace=namespace)
        call(alice, "increment", {"key": "k", "amount": 10}, token=token, namespace=namespace)

    for number, (token, namespace) in enumerate(buckets):
        listed = call(alice, "list", token=token, namespace=namespace).json()["results"]
        assert [(item["key"], item["version"]) for item in listed] == [("k", 3)]
        found = call(alice, "get_many", {"keys": ["k"]}, token=token, namespace=namespace)
        assert found.json() == {"k": number + 10}
    assert Item.objects.count() == len(buckets)

    for left, (token, namespace) in reversed(list(enumerate(buckets))):
        call(alice, "delete", {"key": "k"}, token=token, namespace=namespace)
        assert Item.objects.count() == left


@pytest.fixture
def public(db: None) -> tuple[ApiClient, str, str]:
    """Returns a client of a public command, a token for a user of its own organization, and one for a foreign user."""
    client = ApiClient(make_caller(is_public=True))
    stranger = make_user()
    make_installation(client.caller.command, stranger.organization)
    row, _key = make_api_key(command=client.caller.command)
    assert row.organization != stranger.organization
    return client, client.caller.token, make_token(client.caller.command, stranger)


def test_users_of_two_organizations_share_no_items_of_a_public_command(public: tuple[ApiClient, str, str]) -> None:
    client, own, foreign = public
    put(client, "k", "own", token=own)
    put(client, "k", "own", token=own, namespace="n")

    assert read(client, "k", token=foreign) is None
    assert read(client, "k", token=foreign, namespace="n") is None

    put(client, "k", "foreign", token=foreign)

    assert read(client, "k", token=own) == "own"
    assert read(client, "k", token=foreign) == "foreign"


def test_an_item_of_a_public_commands_user_belongs_to_the_users_organization(
    public: tuple[ApiClient, str, str],
) -> None:
    client, _own, foreign = public

    put(client, "k", 1, token=foreign)

    item = Item.objects.get()
    assert item.user is not None
    assert item.organization == item.user.organization
    assert item.organization != client.caller.organization


def test_a_foreign_users_organization_does_not_lend_its_namespaces(public: tuple[ApiClient, str, str]) -> None:
    client, _own, foreign = public
    _row, users_key = make_api_key(User.objects.latest("pk").organization)
    put(client, "k", "theirs", key=users_key, token=None, namespace="n")

    assert read(client, "k", token=foreign, namespace="n") is None


def _revoked(caller: Caller) -> None:
    organization_services.revoke_tokens_of_user(user=caller.user)


def _inactive_user(caller: Caller) -> None:
    caller.user.is_active = False
    caller.user.save(update_fields=["is_active"])


@pytest.mark.parametrize("end", [_revoked, _inactive_user])
def test_a_token_that_is_no_longer_valid_gives_no_access(alice: ApiClient, end: Callable[[Caller], None]) -> None:
    put(alice, "k", 1)
    put(alice, "k", 1, namespace="n")

    end(alice.caller)

    assert call(alice, "get", {"key": "k"}).json()["code"] == "missing_context"
    assert call(alice, "get", {"key": "k"}, namespace="n").json()["code"] == "missing_token"


def test_a_revoked_key_is_refused(alice: ApiClient) -> None:
    auth_services.revoke_api_key(api_key=alice.caller.api_key)

    assert alice.post(PATH, {"op": "list", "params": {}}).status_code == 401


@pytest.mark.parametrize("kind", ["user", "command", "organization"])
@pytest.mark.parametrize("op", ["get", "set", "list", "increment", "get_many", "delete", "delete_many"])
def test_items_are_found_by_index_in_buckets_of_every_kind(alice: ApiClient, op: str, kind: str) -> None:
    caller = alice.caller
    command_id = None if kind == "organization" else caller.command.pk
    user_id = caller.user.pk if kind == "user" else None
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO storage_item"
            " (organization_id, command_id, user_id, namespace, key, value, version, created_at, updated_at)"
            " SELECT %s, %s, %s, 'n', 'k' || n, '1', 1, now(), now() FROM generate_series(1, 2000) AS numbers(n)",
            [caller.organization.pk, command_id, user_id],
        )
        cursor.execute("ANALYZE storage_item")
    token = {"user": caller.token, "command": make_token(caller.command), "organization": None}[kind]
    params = {"key": "k1471", "value": 2, "if_version": 1, "keys": ["k1471", "k815"], "prefix": "k147", "limit": 5}

    with CaptureQueriesContext(connection) as queries:
        assert call(alice, op, params, token=token, namespace="n").status_code == 200

    statement = next(query["sql"] for query in queries if "storage_item" in query["sql"])
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {statement}")
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "storage_item_place" in plan
    assert re.search(r"Index Cond: .*user_id .*key", plan)
