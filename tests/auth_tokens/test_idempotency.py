"""Requests with an `Idempotency-Key` run once, and their answers are given again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from auth_tokens import idempotency
from auth_tokens.models import IdempotentRequest
from auth_tokens.scopes import Scope
from commands_platform.lib import clock
from scheduling.models import ScheduledExecution
from storage.models import Item
from tests.api import ApiClient, ApiResponse
from tests.factories import make_api_key, make_schedule, make_token, make_user

pytestmark = pytest.mark.django_db

LIST = "/v1/platform/scheduling/"
STORAGE = "/v1/platform/storage/"
BODY = {"name": "report", "execution_frequency": 60}
MINUTE = timedelta(minutes=1)
REPLAYED = "Idempotency-Replayed"


def keyed(
    client: ApiClient, method: str, path: str, body: Any = None, *, key: str = "k", **options: Any
) -> ApiResponse:
    return client.request(method, path, body, headers={"Idempotency-Key": key}, **options)


def create(client: ApiClient, body: Any = BODY, **options: Any) -> ApiResponse:
    return keyed(client, "POST", LIST, body, **options)


def add(client: ApiClient, amount: int = 1, **options: Any) -> ApiResponse:
    return keyed(client, "POST", STORAGE, {"op": "increment", "params": {"key": "n", "amount": amount}}, **options)


def test_the_same_request_gets_the_same_answer_and_has_one_effect(alice: ApiClient) -> None:
    first, second = create(alice), create(alice)

    assert first.status_code == second.status_code == 200
    assert first.json() == second.json()
    assert REPLAYED not in first
    assert second[REPLAYED] == "true"
    assert ScheduledExecution.objects.count() == 1


def test_the_headers_of_an_answer_are_given_again(alice: ApiClient) -> None:
    first, second = add(alice), add(alice)

    assert (first.content, second.content) == (b"1", b"1")
    assert second["X-Storage-Version"] == first["X-Storage-Version"] == "1"
    assert second["Content-Type"] == first["Content-Type"]
    assert Item.objects.get().value == 1


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_changes_are_replayed(alice: ApiClient, method: str) -> None:
    path = f"{LIST}{make_schedule(alice.caller.command).uuid}/"

    first = keyed(alice, method, path, {"name": "new"})
    alice.put(path, {"name": "newer"})
    second = keyed(alice, method, path, {"name": "new"})

    assert second.json() == first.json()
    assert ScheduledExecution.objects.get().name == "newer"


def test_a_deletion_is_replayed_without_a_body(alice: ApiClient) -> None:
    path = f"{LIST}{make_schedule(alice.caller.command).uuid}/"

    answers = [keyed(alice, "DELETE", path) for _ in range(2)]

    assert [(answer.status_code, answer.content) for answer in answers] == [(204, b"")] * 2
    assert answers[1][REPLAYED] == "true"


def test_errors_of_the_caller_are_replayed(alice: ApiClient) -> None:
    path = f"{LIST}00000000-0000-4000-8000-000000000000/"

    for body, method, target, status in (({}, "POST", LIST, 400), ({"name": "x"}, "PUT", path, 404)):
        first, second = (keyed(alice, method, target, body) for _ in range(2))
        assert first.status_code == second.status_code == status
        assert first.json() == second.json()
        assert second[REPLAYED] == "true"


def test_another_body_is_refused(alice: ApiClient) -> None:
    create(alice)

    response = create(alice, {**BODY, "name": "other"})

    assert response.status_code == 422
    assert response.json() == {
        "detail": "Another request has used this Idempotency-Key. Use a new key for each operation.",
        "code": "idempotency_key_payload_mismatch",
    }
    assert ScheduledExecution.objects.count() == 1


def test_another_user_or_query_is_another_request(alice: ApiClient) -> None:
    add(alice)
    other = make_token(alice.caller.command, make_user(alice.caller.organization))

    assert add(alice, token=other).status_code == 422
    assert (
        keyed(alice, "POST", f"{STORAGE}?x=1", {"op": "increment", "params": {"key": "n", "amount": 1}}).status_code
        == 422
    )


def test_the_same_body_in_another_order_or_with_another_token_is_the_same_request(alice: ApiClient) -> None:
    create(alice)
    other = make_token(alice.caller.command, alice.caller.user)

    assert create(alice, dict(reversed(BODY.items())), token=other)[REPLAYED] == "true"
    assert create(alice, {**BODY}, token=other)[REPLAYED] == "true"


@pytest.mark.parametrize("key", ['"k"', " k ", "k"])
def test_a_key_may_be_quoted(alice: ApiClient, key: str) -> None:
    create(alice)

    assert create(alice, key=key)[REPLAYED] == "true"


@pytest.mark.parametrize("key", ["", "  ", '""', "x" * 256, "a\tb"])
def test_an_unusable_key_is_refused(alice: ApiClient, key: str) -> None:
    response = create(alice, key=key)

    assert (response.status_code, response.json()["code"]) == (400, "invalid_idempotency_key")
    assert not ScheduledExecution.objects.exists()


@pytest.mark.parametrize("key", ["x" * 255, "~ !", '"'])
def test_any_printable_key_can_be_used(alice: ApiClient, key: str) -> None:
    assert [create(alice, key=key).status_code for _ in range(2)] == [200, 200]
    assert ScheduledExecution.objects.count() == 1


def test_a_key_counts_for_one_api_key_method_and_path(alice: ApiClient) -> None:
    uuid = create(alice).json()["uuid"]
    _, other = make_api_key(command=alice.caller.command)

    assert REPLAYED not in create(alice, key="k2")
    assert alice.request("POST", LIST, BODY, key=other, headers={"Idempotency-Key": "k"}).json()["uuid"] != uuid
    assert keyed(alice, "PUT", f"{LIST}{uuid}/", {"name": "a"}).status_code == 200
    assert REPLAYED not in keyed(alice, "PATCH", f"{LIST}{uuid}/", {"name": "a"})


def test_the_path_without_its_last_slash_is_the_same_path(alice: ApiClient) -> None:
    create(alice)

    assert keyed(alice, "POST", LIST.rstrip("/"), BODY)[REPLAYED] == "true"


def test_a_stranger_with_the_same_key_gets_an_answer_of_its_own(alice: ApiClient, mallory: ApiClient) -> None:
    uuid = create(alice).json()["uuid"]

    response = create(mallory)

    assert REPLAYED not in response
    assert response.json()["uuid"] != uuid


def test_a_caller_without_a_valid_key_or_scope_gets_no_stored_answer(alice: ApiClient) -> None:
    create(alice)
    scopeless = ApiClient(alice.caller.with_scopes("STORAGE"))
    headers = {"Idempotency-Key": "k"}

    assert alice.request("POST", LIST, BODY, key=None, headers=headers).status_code == 401
    assert alice.request("POST", LIST, BODY, key="cmdp_unknown", headers=headers).status_code == 401
    assert create(scopeless).status_code == 403
    alice.caller.api_key.scopes = ["STORAGE"]
    alice.caller.api_key.save(update_fields=["scopes"])
    assert create(alice).status_code == 403


def test_reads_ignore_the_key(alice: ApiClient) -> None:
    make_schedule(alice.caller.command)
    assert keyed(alice, "GET", LIST).json()["count"] == 1
    make_schedule(alice.caller.command)

    assert keyed(alice, "GET", LIST).json()["count"] == 2
    assert not IdempotentRequest.objects.exists()


def test_an_answer_is_kept_for_a_day(alice: ApiClient) -> None:
    create(alice)
    IdempotentRequest.objects.update(created_at=clock.now() - idempotency.ANSWERS_KEPT_FOR + MINUTE)
    assert create(alice)[REPLAYED] == "true"

    IdempotentRequest.objects.update(created_at=clock.now() - idempotency.ANSWERS_KEPT_FOR - MINUTE)
    assert REPLAYED not in create(alice, {**BODY, "name": "tomorrow"})

    assert ScheduledExecution.objects.count() == 2
    assert create(alice, {**BODY, "name": "tomorrow"})[REPLAYED] == "true"


def test_old_answers_are_removed(alice: ApiClient) -> None:
    for key in ("a", "b", "c"):
        create(alice, key=key)
    IdempotentRequest.objects.exclude(pk=IdempotentRequest.objects.latest("pk").pk).update(
        created_at=clock.now() - idempotency.ANSWERS_KEPT_FOR - MINUTE
    )

    idempotency.remove_expired_answers(limit=1)
    assert IdempotentRequest.objects.count() == 2
    idempotency.remove_expired_answers(limit=10)
    assert IdempotentRequest.objects.count() == 1


def test_a_stored_answer_holds_no_secret_in_clear(alice: ApiClient) -> None:
    client = ApiClient(alice.caller.with_scopes(Scope.AUTH_FETCH_EXCHANGE_TOKEN))
    path, body = "/v1/auth/fetch-command-exchange-token/", {"user_uuid": str(alice.caller.user.uuid)}

    token = keyed(client, "POST", path, body).json()["token"]

    with connection.cursor() as cursor:
        cursor.execute("SELECT r::text FROM auth_tokens_idempotentrequest r")
        ((stored,),) = cursor.fetchall()
    assert token not in stored
    assert "enc1." in stored
    assert keyed(client, "POST", path, body).json()["token"] == token


def test_an_answer_that_is_longer_than_any_request_is_not_stored(
    alice: ApiClient, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    monkeypatch.setattr(idempotency, "MAX_STORED_LENGTH", 10)
    settings.MAX_BODY_BYTES = 1000
    path = f"{LIST}{make_schedule(alice.caller.command, description='', payload={'a': 'x' * 1000}).uuid}/"

    answers = [keyed(alice, "PUT", path, {"name": "new"}) for _ in range(2)]

    assert [REPLAYED in answer for answer in answers] == [False, False]


def statements(client: ApiClient, headers: dict[str, str]) -> list[str]:
    with CaptureQueriesContext(connection) as captured:
        assert client.post(LIST, BODY, headers=headers).status_code == 200
    return [query["sql"] for query in captured if "SAVEPOINT" not in query["sql"]]


def test_a_key_costs_two_statements_and_no_key_costs_none(alice: ApiClient) -> None:
    statements(alice, {})
    without, first = statements(alice, {}), statements(alice, {"Idempotency-Key": "k"})
    again = statements(alice, {"Idempotency-Key": "k"})

    assert not any("idempotent" in statement for statement in without)
    assert len(first) == len(without) + 2
    assert len([statement for statement in again if "idempotent" in statement]) == 1
    assert len(again) < len(without) + 1
