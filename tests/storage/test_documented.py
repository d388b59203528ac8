"""The storage endpoint does what the documentation says, sentence by sentence."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from auth_tokens.scopes import Scope
from tests.api import ApiClient
from tests.storage.calls import PATH, call, put

MISSING_CONTEXT = {
    "detail": "You must provide either a valid exchange token or a namespace parameter",
    "code": "missing_context",
}


def test_set_returns_the_stored_value(alice: ApiClient) -> None:
    response = call(alice, "set", {"key": "greeting", "value": {"key": "value"}})

    assert response.status_code == 200
    assert response.headers["Content-Type"] == "application/json"
    assert response.content == b'{"key":"value"}'


def test_get_returns_the_bare_value(alice: ApiClient) -> None:
    put(alice, "greeting", {"key": "value"})

    response = call(alice, "get", {"key": "greeting"})

    assert response.status_code == 200
    assert response.content == b'{"key":"value"}'
    assert "X-Storage-Found" not in response.headers


def test_get_of_a_missing_key_returns_an_empty_object_and_a_header(alice: ApiClient) -> None:
    response = call(alice, "get", {"key": "greeting"})

    assert response.status_code == 200
    assert response.content == b"{}"
    assert response.headers["X-Storage-Found"] == "false"
    assert "X-Storage-Version" not in response.headers


def test_set_overwrites(alice: ApiClient) -> None:
    put(alice, "greeting", "hello")
    put(alice, "greeting", ["good", "evening"])

    assert call(alice, "get", {"key": "greeting"}).json() == ["good", "evening"]


def test_delete_removes_the_item_and_returns_an_empty_object(alice: ApiClient) -> None:
    put(alice, "greeting", "hello")

    response = call(alice, "delete", {"key": "greeting"})

    assert (response.status_code, response.content) == (200, b"{}")
    assert call(alice, "get", {"key": "greeting"}).headers["X-Storage-Found"] == "false"


def test_deleting_a_missing_item_returns_the_same(alice: ApiClient) -> None:
    response = call(alice, "delete", {"key": "greeting"})

    assert (response.status_code, response.content) == (200, b"{}")


@pytest.mark.parametrize(
    "text",
    [
        "null",
        "false",
        "true",
        "0",
        '""',
        "[]",
        "{}",
        '"hello"',
        "1",
        "1.0",
        "-0.0",
        "0.1",
        "1e+23",
        "5e-324",
        "18446744073709551615",
        "-9223372036854775808",
        "9007199254740993",
        '{"z":1,"a":{"c":[null,false],"b":2},"":"empty"}',
        '{"10":1,"9":2,"1":3}',
        '"Gr\u00fc\u00dfe \U0001f600 e\u0301 \u00e9"',
        '"tab\\t quote\\" backslash\\\\ percent% {braces} \\u001f"',
        '"\u200b\u202e"',
        '[[],[[]],{"a":[{}]}]',
        "[" * 60 + "]" * 60,
    ],
)
def test_a_value_is_returned_as_it_was_sent(alice: ApiClient, text: str) -> None:
    body = b'{"op":"set","params":{"key":"k","value":' + text.encode() + b"}}"

    answer_to_set = alice.post(PATH, raw=body)
    answer_to_get = call(alice, "get", {"key": "k"})

    assert answer_to_set.content == text.encode()
    assert answer_to_get.content == text.encode()
    assert answer_to_get.headers["X-Storage-Version"] == "1"


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ('{ "a" : [ 1 , 2 ] }', '{"a":[1,2]}'),
        ('"\\u00e9\\/"', '"\u00e9/"'),
        ("1E2", "100.0"),
        ('"\\ud83d\\ude00"', '"\U0001f600"'),
    ],
)
def test_a_value_is_stored_in_compact_form(alice: ApiClient, sent: str, stored: str) -> None:
    response = alice.post(PATH, raw=b'{"op":"set","params":{"key":"k","value":' + sent.encode() + b"}}")

    assert response.content == stored.encode()


def test_the_path_works_without_its_last_slash(alice: ApiClient) -> None:
    body = {"op": "set", "params": {"key": "k", "value": 1}}

    assert alice.post(PATH.rstrip("/"), body).content == b"1"
    assert call(alice, "get", {"key": "k"}).content == b"1"


def test_unknown_fields_and_parameters_are_ignored(alice: ApiClient) -> None:
    body = {"op": "set", "params": {"key": "k", "value": 1, "color": "red"}, "client": "sdk/1.0"}

    assert alice.post(PATH, body).content == b"1"


def test_a_request_without_a_key_is_refused(alice: ApiClient) -> None:
    response = call(alice, "get", {"key": "k"}, key=None)

    assert response.status_code == 401
    assert response.json()["code"] == "not_authenticated"
    assert "WWW-Authenticate" in response.headers


def test_an_unknown_key_is_refused(alice: ApiClient) -> None:
    response = call(alice, "get", {"key": "k"}, key="unknown")

    assert response.status_code == 401
    assert response.json()["code"] == "authentication_failed"


def test_a_key_without_the_scope_is_refused(alice: ApiClient) -> None:
    others = [scope for scope in Scope if scope is not Scope.STORAGE]
    client = ApiClient(alice.caller.with_scopes(*others))

    response = call(client, "get", {"key": "k"})

    assert response.status_code == 403
    assert response.json()["code"] == "insufficient_scope"


def test_the_storage_scope_is_enough(alice: ApiClient) -> None:
    client = ApiClient(alice.caller.with_scopes(Scope.STORAGE))

    assert call(client, "get", {"key": "k"}).status_code == 200


@pytest.mark.parametrize("token", [None, "junk", "x" * 600])
@pytest.mark.parametrize("namespace", [None, ""])
def test_a_request_with_neither_token_nor_namespace_is_refused(
    alice: ApiClient, token: str | None, namespace: str | None
) -> None:
    response = call(alice, "get", {"key": "k"}, namespace=namespace, token=token)

    assert response.status_code == 400
    assert response.json() == MISSING_CONTEXT


def test_a_null_namespace_counts_as_missing(alice: ApiClient) -> None:
    response = alice.post(PATH, {"op": "get", "params": {"key": "k"}, "namespace": None}, token=None)

    assert response.json() == MISSING_CONTEXT


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
def test_only_post_is_allowed(alice: ApiClient, method: str) -> None:
    response = alice.request(method, PATH)

    assert response.status_code == 405
    assert response.json()["code"] == "method_not_allowed"


@pytest.mark.parametrize("op", ["get", "set", "delete", "exists", "get_many", "set_many", "delete_many", "list"])
def test_an_operation_needs_one_statement(alice: ApiClient, op: str) -> None:
    params = {"key": "k", "value": 1, "keys": ["k", "l"], "items": {"k": 1, "l": 2}}

    with CaptureQueriesContext(connection) as queries:
        response = call(alice, op, params)

    assert response.status_code == 200
    assert len([query for query in queries if "storage_item" in query["sql"]]) == 1
