"""API keys and exchange tokens: what is accepted, what counts as absent, and what is kept."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from auth_tokens import keys, services
from auth_tokens.errors import InvalidApiKeyError
from auth_tokens.models import ApiKey
from commands_platform.lib.errors import InvalidInputError
from organizations.models import Organization
from organizations.services import revoke_tokens_of_command, revoke_tokens_of_user
from tests.api import ApiClient, make_caller
from tests.factories import make_api_key, make_command, make_organization, make_token, make_user, read_token

ME = "/v1/me/"


def test_a_new_key_has_its_shape_and_no_two_are_alike() -> None:
    made = [keys.new_key() for _ in range(50)]

    assert all(keys.has_key_shape(key) and key.startswith(f"cmdp_{prefix}_") for key, prefix in made)
    assert len({key for key, _ in made}) == 50


@given(st.text())
def test_other_text_has_not(text: str) -> None:
    assert not keys.has_key_shape(text)


def test_a_mistyped_key_is_refused_without_a_query(db: None, django_assert_num_queries: Any) -> None:
    _, key = make_api_key()
    wrong = key[:-10] + ("a" if key[-10] != "a" else "b") + key[-9:]

    with django_assert_num_queries(0), pytest.raises(InvalidApiKeyError):
        services.find_caller(key=wrong)


@pytest.mark.django_db
def test_the_key_itself_is_not_stored() -> None:
    row, key = make_api_key()

    with connection.cursor() as cursor:
        cursor.execute("SELECT k::text FROM auth_tokens_apikey k WHERE id = %s", [row.pk])
        (stored,) = cursor.fetchone()

    assert key not in stored
    assert key.split("_")[2] not in stored
    assert row.prefix in stored


@pytest.mark.django_db
def test_a_valid_key_costs_one_query(django_assert_num_queries: Any) -> None:
    _, key = make_api_key(command=make_command())
    services.find_caller(key=key)

    with django_assert_num_queries(1):
        found = services.find_caller(key=key).api_key
        assert found.organization.name
        assert found.command is not None


@pytest.mark.django_db
@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param({"revoked_at": datetime(2020, 1, 1, tzinfo=UTC)}, id="revoked"),
        pytest.param({"expires_at": datetime(2020, 1, 1, tzinfo=UTC)}, id="expired"),
    ],
)
def test_a_revoked_or_expired_key_is_refused(alice: ApiClient, spoil: dict[str, Any]) -> None:
    ApiKey.objects.filter(pk=alice.caller.api_key.pk).update(**spoil)

    response = alice.get(ME)

    assert response.status_code == 401
    assert response.json() == {"detail": "Invalid API key", "code": "authentication_failed"}
    assert response.headers["WWW-Authenticate"]


@pytest.mark.parametrize("key", ["nonsense", "cmdp_x", "é", "a" * 10_000, "a\0b"])
def test_an_unknown_key_is_refused(alice: ApiClient, key: str) -> None:
    response = alice.get(ME, key=key)

    assert response.status_code in {400, 401}
    assert response.json()["code"] in {"authentication_failed", "bad_request"}


@pytest.mark.parametrize("inactive", ["organization", "command"])
def test_a_key_of_an_inactive_organization_or_command_is_refused(alice: ApiClient, inactive: str) -> None:
    row = getattr(alice.caller, inactive)
    row.is_active = False
    row.save(update_fields=["is_active"])

    assert alice.get(ME).status_code == 401


@pytest.mark.django_db
def test_revoking_a_key_ends_it_at_once(alice: ApiClient) -> None:
    services.revoke_api_key(api_key=alice.caller.api_key)

    assert alice.get(ME).status_code == 401


@pytest.mark.django_db
def test_the_last_use_is_written_at_most_once_a_minute() -> None:
    row, key = make_api_key()
    start = datetime(2026, 3, 1, 12, tzinfo=UTC)
    seen = []

    for seconds in (0, 30, 59, 61):
        with time_machine.travel(start + timedelta(seconds=seconds), tick=False):
            services.find_caller(key=key)
        row.refresh_from_db()
        seen.append(row.last_used_at)

    assert seen == [start, start, start, start + timedelta(seconds=61)]


@pytest.mark.django_db
def test_a_key_cannot_be_bound_to_another_organizations_command() -> None:
    with pytest.raises(InvalidInputError):
        services.create_api_key(organization=make_organization(), command=make_command())


def test_a_token_is_safe_in_a_url_and_fresh_each_time(alice: ApiClient) -> None:
    made = {make_token(alice.caller.command, alice.caller.user) for _ in range(20)}

    assert len(made) == 20
    assert all(set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_:") for token in made)


def test_a_token_tells_its_command_user_and_organization(alice: ApiClient) -> None:
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


def spoil_token(client: ApiClient, how: str) -> str:
    caller = client.caller
    token = caller.token
    if how == "forged":
        return token[:-3] + ("aaa" if token[-3:] != "aaa" else "bbb")
    if how == "user inactive":
        caller.user.is_active = False
        caller.user.save(update_fields=["is_active"])
    elif how == "user revoked":
        revoke_tokens_of_user(user=caller.user)
    elif how == "command revoked":
        revoke_tokens_of_command(command=caller.command)
    elif how == "another command":
        token = make_token(make_command(caller.organization), caller.user)
    elif how == "another organization":
        other = make_caller()
        token = other.token
    elif how == "no longer public":
        token = make_token(caller.command, make_user())
    else:
        token = how
    return token


@pytest.mark.parametrize(
    "how",
    [
        "forged", "user inactive", "user revoked", "command revoked", "another command", "another organization",
        "no longer public", "nonsense", "x" * 20_000, "a:b:c", "WzFd:1:x",
    ],
)  # fmt: skip
def test_a_token_that_is_not_valid_counts_as_absent(alice: ApiClient, how: str) -> None:
    token = spoil_token(alice, how)

    response = alice.get("/v1/platform/activity/", token=token)

    assert response.status_code == 400
    assert response.json() == {"detail": "You should specify a valid exchange token", "code": "missing_token"}


@pytest.mark.django_db
def test_a_token_counts_as_absent_once_its_users_organization_is_inactive() -> None:
    owner, guest = ApiClient(make_caller(is_public=True)), make_user()
    token = make_token(owner.caller.command, guest)
    assert owner.get(ME, token=token).json()["user"]["uuid"] == str(guest.uuid)

    Organization.objects.filter(pk=guest.organization_id).update(is_active=False)

    assert owner.get(ME, token=token).json()["user"] is None


def test_a_key_and_its_token_cost_one_query(alice: ApiClient, django_assert_num_queries: Any) -> None:
    alice.get(ME)

    with django_assert_num_queries(1):
        assert alice.get(ME).json()["user"]


def test_a_key_without_a_command_takes_tokens_of_its_organizations_commands_only(
    alice: ApiClient, mallory: ApiClient
) -> None:
    _, key = make_api_key(alice.caller.organization)

    assert services.find_caller(key=key, token=alice.caller.token).token is not None
    assert services.find_caller(key=key, token=mallory.caller.token).token is None


@pytest.mark.django_db(transaction=True)
def test_many_first_requests_at_once_are_all_answered() -> None:
    _, key = make_api_key()
    found: list[ApiKey] = []

    def use() -> None:
        try:
            found.append(services.find_caller(key=key).api_key)
        finally:
            connection.close()

    threads = [threading.Thread(target=use) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 5
