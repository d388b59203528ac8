"""Exchange tokens: what they contain, when they are void, and what happens then."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine

from auth_tokens import tokens
from organizations.models import Command, Organization, User
from organizations.services import revoke_tokens_of_command, revoke_tokens_of_user
from scheduling.models import ScheduledExecution
from storage.models import Item
from tests.api import ApiClient, Caller, make_caller
from tests.factories import make_api_key, make_command, make_installation, make_token, make_user, read_token

ME = "/v1/me/"
ACTIVITY = "/v1/platform/activity/"
SCHEDULING = "/v1/platform/scheduling/"
STORAGE = "/v1/platform/storage/"
FETCH = "/v1/auth/fetch-command-exchange-token/"
MISSING_TOKEN = {"detail": "You should specify a valid exchange token", "code": "missing_token"}


def test_tokens_are_safe_in_urls_and_unique(alice: ApiClient) -> None:
    made = {make_token(alice.caller.command, alice.caller.user) for _ in range(20)}

    assert len(made) == 20
    assert all(set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") for token in made)


def test_a_decoded_token_shows_neither_row_numbers_nor_its_age() -> None:
    now = datetime(2026, 3, 1, tzinfo=UTC)
    with time_machine.travel(now, tick=False):
        token = tokens.make_token_of(0x1122334455667788, 0, 0x2233445566778899, 0)

    decoded = base64.urlsafe_b64decode(token.removeprefix("cmdt_"))
    for number in (0x1122334455667788, 0x2233445566778899, int(now.timestamp()), int(now.timestamp() * 1000)):
        for length in (4, 8):
            assert (number % 256**length).to_bytes(length) not in decoded
        assert str(number).encode() not in decoded


def test_tokens_with_and_without_a_user_look_alike() -> None:
    assert len(tokens.make_token_of(1, 0, None, 0)) == len(tokens.make_token_of(2**63 - 1, 9, 2**63 - 1, 9))


@pytest.mark.parametrize("position", range(5, 85))
def test_a_token_that_was_changed_at_any_place_is_invalid(position: int) -> None:
    token = tokens.make_token_of(1, 0, 2, 0)
    other = "A" if token[position] != "A" else "B"

    assert tokens.read_claim(token[:position] + other + token[position + 1 :]) is None


@pytest.fixture
def fresh_ciphers() -> Iterator[None]:
    yield
    tokens._ciphers.cache_clear()


@pytest.mark.usefixtures("fresh_ciphers")
@pytest.mark.parametrize("is_kept", [True, False])
def test_tokens_of_the_previous_secret_key_are_valid_while_it_is_a_fallback(settings: Any, is_kept: bool) -> None:
    token = tokens.make_token_of(1, 0, 2, 0)

    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY] if is_kept else []
    settings.SECRET_KEY = "another"
    tokens._ciphers.cache_clear()

    assert (tokens.read_claim(token) is not None) is is_kept


def test_a_token_names_its_command_user_and_organization(alice: ApiClient) -> None:
    subject = read_token(alice.caller.token)

    assert subject is not None
    assert (subject.command, subject.user) == (alice.caller.command, alice.caller.user)
    assert subject.organization == alice.caller.organization


def test_a_token_lives_thirty_days(alice: ApiClient) -> None:
    now = datetime.now(UTC)

    with time_machine.travel(now + timedelta(days=29, hours=23)):
        assert read_token(alice.caller.token) is not None
    with time_machine.travel(now + timedelta(days=30, minutes=1)):
        assert read_token(alice.caller.token) is None


def _expired(caller: Caller) -> str:
    with time_machine.travel(datetime.now(UTC) - timedelta(days=31)):
        return make_token(caller.command, caller.user)


def _of_inactive_user(caller: Caller) -> str:
    User.objects.filter(pk=caller.user.pk).update(is_active=False)
    return caller.token


def _of_revoked_user(caller: Caller) -> str:
    revoke_tokens_of_user(user=caller.user)
    return caller.token


def _of_revoked_command(caller: Caller) -> str:
    revoke_tokens_of_command(command=caller.command)
    return caller.token


def _of_guest_with_inactive_organization(caller: Caller) -> str:
    guest = make_user()
    Organization.objects.filter(pk=guest.organization_id).update(is_active=False)
    Command.objects.filter(pk=caller.command.pk).update(is_public=True)
    make_installation(caller.command, guest.organization)
    return make_token(caller.command, guest)


def _of_organization_without_installation(caller: Caller) -> str:
    Command.objects.filter(pk=caller.command.pk).update(is_public=True)
    return make_token(caller.command, make_user())


_WAYS: dict[str, Callable[[Caller], str]] = {
    "forged": lambda caller: caller.token[:-3] + ("aaa" if caller.token[-3:] != "aaa" else "bbb"),
    "expired": _expired,
    "user inactive": _of_inactive_user,
    "user revoked": _of_revoked_user,
    "command revoked": _of_revoked_command,
    "another command": lambda caller: make_token(make_command(caller.organization), caller.user),
    "another organization": lambda _: make_caller().token,
    "no longer public": lambda caller: make_token(caller.command, make_user()),
    "user's organization inactive": _of_guest_with_inactive_organization,
    "not installed": _of_organization_without_installation,
}


def void_token(client: ApiClient, how: str) -> str:
    """Returns a token that is void for the client. May invalidate the client's own token."""
    return _WAYS[how](client.caller) if how in _WAYS else how


VOID = {
    "forged": "invalid",
    "expired": "expired",
    "user inactive": "inactive",
    "user revoked": "revoked",
    "command revoked": "revoked",
    "another command": "other_command",
    "another organization": "other_command",
    "no longer public": "revoked",
    "not installed": "revoked",
    "user's organization inactive": "inactive",
    "nonsense": "invalid",
    "x" * 20_000: "invalid",
    "a:b:c": "invalid",
    "cmdt_": "invalid",
    " ": "invalid",
}


@pytest.mark.parametrize("how", VOID)
def test_a_void_token_counts_as_missing_and_a_header_says_why(alice: ApiClient, how: str) -> None:
    response = alice.get(ACTIVITY, token=void_token(alice, how))

    assert response.status_code == 400
    assert response.json() == MISSING_TOKEN
    assert response["X-Exchange-Token-Status"] == VOID[how]


@pytest.mark.parametrize("how", VOID)
def test_a_void_token_with_a_namespace_does_not_reach_the_organizations_bucket(alice: ApiClient, how: str) -> None:
    body = {"op": "set", "params": {"key": "k", "value": 1}, "namespace": "shared"}

    response = alice.post(STORAGE, body, token=void_token(alice, how))

    assert response.status_code == 400
    assert response.json() == MISSING_TOKEN
    assert response["X-Exchange-Token-Status"] == VOID[how]
    assert not Item.objects.exists()


@pytest.mark.parametrize("how", VOID)
def test_a_void_token_with_a_command_schedules_nothing(alice: ApiClient, how: str) -> None:
    body = {"name": "n", "command_uuid": str(alice.caller.command.uuid)}

    response = alice.post(SCHEDULING, body, token=void_token(alice, how))

    assert response.status_code == 400
    assert response.json() == MISSING_TOKEN
    assert response["X-Exchange-Token-Status"] == VOID[how]
    assert not ScheduledExecution.objects.exists()


def test_an_empty_token_counts_as_void(alice: ApiClient) -> None:
    body = {"name": "n", "command_uuid": str(alice.caller.command.uuid)}

    response = alice.post(SCHEDULING, body, token=None, headers={"X-EXCHANGE-TOKEN": ""})

    assert response.json() == MISSING_TOKEN
    assert response["X-Exchange-Token-Status"] == "invalid"


def test_a_void_token_alone_gets_the_documented_errors(alice: ApiClient) -> None:
    stored = alice.post(STORAGE, {"op": "get", "params": {"key": "k"}}, token="nonsense")
    scheduled = alice.post(SCHEDULING, {"name": "n"}, token="nonsense")

    assert stored.json()["code"] == "missing_context"
    assert scheduled.json()["code"] == "missing_token_or_command"
    assert stored["X-Exchange-Token-Status"] == scheduled["X-Exchange-Token-Status"] == "invalid"


def test_there_is_no_token_status_for_a_valid_or_missing_token(alice: ApiClient) -> None:
    for token in (alice.caller.token, None):
        assert "X-Exchange-Token-Status" not in alice.get(ME, token=token)
        assert "X-Exchange-Token-Status" not in alice.get(f"{SCHEDULING}x/", token=token)


def test_with_a_refused_key_there_is_no_token_status(alice: ApiClient) -> None:
    assert "X-Exchange-Token-Status" not in alice.get(ME, key="nonsense", token="nonsense")


def test_a_caller_with_a_void_token_can_fetch_a_new_one(alice: ApiClient) -> None:
    response = alice.post(FETCH, {"user_uuid": str(alice.caller.user.uuid)}, token=void_token(alice, "expired"))

    assert response.status_code == 200
    assert response["X-Exchange-Token-Status"] == "expired"


def test_me_shows_no_user_for_a_void_token_and_says_why(alice: ApiClient) -> None:
    response = alice.get(ME, token=void_token(alice, "user revoked"))

    assert response.json()["token_user"] is None
    assert response["X-Exchange-Token-Status"] == "revoked"


def test_a_key_and_a_token_need_one_query(alice: ApiClient, django_assert_num_queries: Any) -> None:
    alice.get(ME)

    with django_assert_num_queries(1):
        assert alice.get(ME).json()["token_user"]


def test_a_key_without_a_command_accepts_only_tokens_of_its_organizations_commands(
    alice: ApiClient, mallory: ApiClient
) -> None:
    _, key = make_api_key(alice.caller.organization)

    assert alice.get(ACTIVITY, key=key).status_code == 200
    assert alice.get(ACTIVITY, key=key, token=mallory.caller.token)["X-Exchange-Token-Status"] == "other_command"
