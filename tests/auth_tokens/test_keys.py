"""Which API keys are accepted, and what is stored about them."""

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
from auth_tokens.callers import find_caller
from auth_tokens.errors import InvalidApiKeyError
from auth_tokens.models import ApiKey
from commands_platform.lib.errors import InvalidInputError
from tests.api import ApiClient
from tests.factories import make_api_key, make_command, make_organization, make_user

ME = "/v1/me/"


def test_new_keys_have_the_right_shape_and_are_unique() -> None:
    made = [keys.new_key() for _ in range(50)]

    assert all(keys.has_key_shape(key) and key.startswith(f"cmdp_{prefix}_") for key, prefix in made)
    assert len({key for key, _ in made}) == 50


@given(st.text())
def test_other_text_does_not_have_the_shape_of_a_key(text: str) -> None:
    assert not keys.has_key_shape(text)


def test_a_mistyped_key_is_refused_without_a_query(db: None, django_assert_num_queries: Any) -> None:
    _, key = make_api_key()
    wrong = key[:-10] + ("a" if key[-10] != "a" else "b") + key[-9:]

    with django_assert_num_queries(0), pytest.raises(InvalidApiKeyError):
        find_caller(key=wrong)


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
def test_a_valid_key_needs_one_query(django_assert_num_queries: Any) -> None:
    _, key = make_api_key(command=make_command())
    find_caller(key=key)

    with django_assert_num_queries(1):
        found = find_caller(key=key).api_key
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
def test_a_revoked_key_is_refused_at_once(alice: ApiClient) -> None:
    services.revoke_api_key(api_key=alice.caller.api_key)

    assert alice.get(ME).status_code == 401


@pytest.mark.django_db
def test_the_last_use_is_written_at_most_once_a_minute() -> None:
    row, key = make_api_key()
    start = datetime(2026, 3, 1, 12, tzinfo=UTC)
    seen = []

    for seconds in (0, 30, 59, 61):
        with time_machine.travel(start + timedelta(seconds=seconds), tick=False):
            find_caller(key=key)
        row.refresh_from_db()
        seen.append(row.last_used_at)

    assert seen == [start, start, start, start + timedelta(seconds=61)]


@pytest.mark.django_db
def test_a_new_key_has_no_scopes_unless_it_is_given_some() -> None:
    row, _ = services.create_api_key(organization=make_organization())

    assert row.scopes == []


@pytest.mark.django_db
def test_a_key_cannot_be_owned_by_another_organizations_user() -> None:
    with pytest.raises(InvalidInputError):
        services.create_api_key(organization=make_organization(), owner=make_user())


@pytest.mark.django_db
def test_a_key_cannot_be_bound_to_another_organizations_command() -> None:
    with pytest.raises(InvalidInputError):
        services.create_api_key(organization=make_organization(), command=make_command())


@pytest.mark.django_db(transaction=True)
def test_concurrent_first_requests_of_a_key_are_all_accepted() -> None:
    _, key = make_api_key()
    found: list[ApiKey] = []

    def use() -> None:
        try:
            found.append(find_caller(key=key).api_key)
        finally:
            connection.close()

    threads = [threading.Thread(target=use) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 5
