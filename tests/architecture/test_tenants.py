"""Calls every operation of the API as every kind of caller.

Each operation needs a row here. The rows give the statuses for callers who have a valid key, but perhaps not the right
key or token for the object. For a missing or invalid key, all operations give the same answer.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, NamedTuple

import pytest
from django.db import transaction

from auth_tokens.models import ApiKey
from commands_platform.lib import clock
from commands_platform.lib.http.schema import example_uuid
from organizations.models import Command, Organization
from tests.api import ApiClient, ApiResponse
from tests.architecture.test_endpoints import ENDPOINTS
from tests.factories import make_api_key, make_command, make_token
from tests.openapi.document import Operation, operations, path_with_examples, requests
from tests.openapi.world import MAKERS, populate

pytestmark = pytest.mark.django_db


class Row(NamedTuple):
    """The status for each kind of caller."""

    owner: int
    """The organization's own key, bound to the object's command, with a user's token."""
    no_token: int
    """The same key without a token. A user owns the schedule."""
    void_token: int
    """The same key with a void token."""
    colleague: int
    """A key of the same organization, bound to another command, with that command's token."""
    stranger: int
    """A key and a token of another organization."""
    foreign_token: int
    """The owner's token, sent by a stranger with a valid key."""


ROWS: dict[str, Row] = {
    "change_api_key": Row(200, 200, 200, 200, 404, 404),
    "change_command": Row(200, 200, 200, 200, 404, 404),
    "change_user": Row(200, 200, 200, 200, 404, 404),
    "create_api_key": Row(201, 201, 201, 201, 201, 201),
    "create_command": Row(201, 201, 201, 201, 201, 201),
    "create_user": Row(201, 201, 201, 201, 201, 201),
    "get_api_key": Row(200, 200, 200, 200, 404, 404),
    "get_command": Row(200, 200, 200, 200, 404, 404),
    "list_api_keys": Row(200, 200, 200, 200, 200, 200),
    "list_commands": Row(200, 200, 200, 200, 200, 200),
    "revoke_api_key": Row(200, 200, 200, 200, 404, 404),
    "revoke_tokens_of_command": Row(204, 204, 204, 204, 404, 404),
    "rotate_api_key": Row(201, 201, 201, 201, 404, 404),
    "rotate_signing_secret": Row(200, 200, 200, 200, 404, 404),
    "rotate_static_signature": Row(200, 200, 200, 200, 404, 404),
    "change_installation": Row(200, 200, 200, 200, 404, 404),
    "create_calendar": Row(201, 201, 400, 201, 201, 400),
    "create_schedule": Row(200, 400, 400, 200, 200, 400),
    "create_schedules": Row(200, 400, 400, 200, 200, 400),
    "delete_calendar": Row(204, 204, 400, 204, 404, 400),
    "delete_schedule": Row(204, 400, 400, 404, 404, 400),
    "fetch_exchange_token": Row(200, 200, 200, 200, 406, 406),
    "get_calendar": Row(200, 200, 400, 200, 404, 400),
    "get_installation": Row(200, 200, 200, 200, 404, 404),
    "get_event": Row(200, 200, 400, 200, 404, 400),
    "get_subscription": Row(200, 400, 400, 404, 404, 400),
    "list_event_types": Row(200, 200, 200, 200, 200, 200),
    "test_subscription": Row(202, 400, 400, 404, 404, 400),
    "create_webhook": Row(201, 201, 201, 201, 201, 201),
    "delete_webhook": Row(204, 204, 204, 404, 404, 404),
    "get_event_sample": Row(200, 200, 200, 200, 200, 200),
    "list_webhooks": Row(200, 200, 200, 200, 200, 200),
    "get_me": Row(200, 200, 200, 200, 200, 200),
    "get_next_slots": Row(200, 400, 400, 404, 404, 400),
    "get_organization": Row(200, 200, 200, 200, 200, 200),
    "get_schedule": Row(200, 400, 400, 404, 404, 400),
    "get_slot": Row(200, 400, 400, 404, 404, 400),
    "get_user": Row(200, 200, 200, 200, 404, 404),
    "install_command": Row(201, 201, 201, 201, 201, 201),
    "list_changes": Row(200, 200, 200, 200, 200, 200),
    "list_activity": Row(200, 400, 400, 200, 200, 400),
    "list_calendars": Row(200, 200, 400, 200, 200, 400),
    "list_installations": Row(200, 200, 200, 200, 200, 200),
    "list_installed_hooks": Row(200, 200, 200, 200, 404, 404),
    "list_schedules": Row(200, 200, 400, 200, 200, 400),
    "list_slots": Row(200, 400, 400, 404, 404, 400),
    "list_users": Row(200, 200, 200, 200, 200, 200),
    "patch_schedule": Row(200, 400, 400, 404, 404, 400),
    "preview_schedule": Row(200, 400, 400, 200, 200, 400),
    "publish_event": Row(202, 202, 202, 202, 202, 202),
    "put_calendar": Row(200, 200, 400, 200, 201, 400),
    "put_schedule": Row(201, 400, 400, 201, 201, 400),
    "pause_schedule": Row(200, 400, 400, 404, 404, 400),
    "record_activity": Row(201, 400, 400, 201, 201, 400),
    "redeliver_slot": Row(200, 400, 400, 404, 404, 400),
    "redeliver_slots": Row(200, 400, 400, 404, 404, 400),
    "remove_installation": Row(204, 204, 204, 204, 404, 404),
    "resume_schedule": Row(200, 400, 400, 404, 404, 400),
    "run_schedule": Row(202, 400, 400, 404, 404, 400),
    "run_storage_operation": Row(200, 400, 400, 200, 200, 400),
    "subscribe": Row(200, 400, 400, 200, 200, 400),
    "unsubscribe": Row(200, 400, 400, 200, 200, 400),
    "update_schedule": Row(200, 400, 400, 404, 404, 400),
}

OPERATIONS = {operation.id: operation for operation in operations()}
BODIES = {example.operation.id: example.body for example in reversed(requests())}


def test_each_operation_has_a_row() -> None:
    assert set(ROWS) == set(OPERATIONS)


def scope_of(operation: Operation) -> str:
    """Returns the scope that the operation's view names."""
    route = operation.path.removeprefix("/").replace("{", "<str:").replace("}", ">")
    view = ENDPOINTS[route]
    scope: str = (operation.method != "GET" and view.scope_to_change) or view.required_scope
    return scope


def ask(client: ApiClient, operation: Operation, **headers: Any) -> ApiResponse:
    """Sends an example of the operation, and rolls back its effects."""
    with transaction.atomic():
        response = client.request(operation.method, path_with_examples(operation), BODIES.get(operation.id), **headers)
        transaction.set_rollback(True)
    return response


def made_invalid(change: Callable[[ApiKey], object]) -> Callable[[ApiClient, str], str]:
    def make(alice: ApiClient, scope: str) -> str:
        row, key = make_api_key(command=alice.caller.command, scopes=[scope] if scope != "MANAGE" else [])
        change(row)
        return key

    return make


def _update(row: ApiKey, **values: Any) -> None:
    ApiKey.objects.filter(pk=row.pk).update(**values)


def known_only_to_the_owner(alice: ApiClient) -> list[str]:
    """Returns texts that no answer to a stranger may contain."""
    objects = (example_uuid(segment) for segment in MAKERS)
    caller = alice.caller
    return [str(uuid) for uuid in (*objects, caller.organization.uuid, caller.command.uuid)] + [caller.user.email]


INVALID_KEYS: dict[str, Callable[[ApiClient, str], str | None]] = {
    "none": lambda _alice, _scope: None,
    "unknown": lambda alice, _scope: alice.caller.key[:-1] + ("a" if alice.caller.key[-1] != "a" else "b"),
    "not a key": lambda _alice, _scope: "nonsense",
    "revoked": made_invalid(lambda row: _update(row, revoked_at=clock.now())),
    "expired": made_invalid(lambda row: _update(row, expires_at=clock.now() - timedelta(seconds=1))),
    "of an inactive organization": made_invalid(
        lambda row: Organization.objects.filter(api_keys=row).update(is_active=False)
    ),
    "of an inactive command": made_invalid(lambda row: Command.objects.filter(api_keys=row).update(is_active=False)),
}


@pytest.mark.parametrize("id_", OPERATIONS)
def test_every_operation_refuses_a_missing_or_invalid_key(alice: ApiClient, id_: str) -> None:
    operation = OPERATIONS[id_]
    populate(alice)

    for name, make in INVALID_KEYS.items():
        with transaction.atomic():
            response = ask(alice, operation, key=make(alice, scope_of(operation)))
            transaction.set_rollback(True)
        code = "not_authenticated" if name == "none" else "authentication_failed"
        assert (response.status_code, response.json()["code"]) == (401, code), name
        assert response["WWW-Authenticate"]


@pytest.mark.parametrize("id_", OPERATIONS)
def test_every_operation_refuses_a_key_without_its_scope(alice: ApiClient, id_: str) -> None:
    operation = OPERATIONS[id_]
    populate(alice)

    response = ask(ApiClient(alice.caller.with_scopes()), operation)

    assert (response.status_code, response.json()["code"]) == (403, "insufficient_scope")


@pytest.mark.parametrize("id_", OPERATIONS)
def test_an_operation_answers_each_caller_as_its_row_says(alice: ApiClient, mallory: ApiClient, id_: str) -> None:
    operation = OPERATIONS[id_]
    populate(alice)
    scope = scope_of(operation)
    owner, stranger = ApiClient(alice.caller.with_scopes(scope)), ApiClient(mallory.caller.with_scopes(scope))
    other_command = make_command(alice.caller.organization)
    bound = None if scope == "MANAGE" else other_command
    _, other_key = make_api_key(alice.caller.organization, command=bound, scopes=[scope])

    asked_by_strangers = [ask(stranger, operation), ask(stranger, operation, token=alice.caller.token)]
    row = Row(
        owner=ask(owner, operation).status_code,
        no_token=ask(owner, operation, token=None).status_code,
        void_token=ask(owner, operation, token="void").status_code,
        colleague=ask(owner, operation, key=other_key, token=make_token(other_command, alice.caller.user)).status_code,
        stranger=asked_by_strangers[0].status_code,
        foreign_token=asked_by_strangers[1].status_code,
    )

    assert row == ROWS.get(id_), f'"{id_}": Row{tuple(row)},'
    for answer in asked_by_strangers:
        assert not any(text in answer.content.decode() for text in known_only_to_the_owner(alice))
