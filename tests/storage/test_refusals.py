"""The requests that the storage endpoint refuses, and its messages."""

from __future__ import annotations

from typing import Any

import pytest

from storage.serializers import PARAMS
from tests.api import ApiClient
from tests.lib.hostile import HOSTILE_BODIES, HOSTILE_CONTENT_TYPES, HOSTILE_HEADER_VALUES, HOSTILE_QUERIES
from tests.storage.calls import PATH, call, put, read

TOO_MANY_KEYS = "keys: There may be 100 keys at most. Ask for the others in another request."

VALUE_LIMIT = 256 * 1024


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (None, "op"),
        ({}, "op"),
        ({"params": {"key": "k"}}, "op"),
        ({"op": "", "params": {"key": "k"}}, "op"),
        ({"op": "GET", "params": {"key": "k"}}, "op"),
        ({"op": "drop", "params": {"key": "k"}}, "op"),
        ({"op": ["get"], "params": {"key": "k"}}, "op"),
        ({"op": None, "params": {"key": "k"}}, "op"),
        ({"op": "get"}, "params"),
        ({"op": "get", "params": None}, "params"),
        ({"op": "get", "params": "k"}, "params"),
        ({"op": "get", "params": ["k"]}, "params"),
        ({"op": "get", "params": {}}, "key"),
        ({"op": "get", "params": {"key": "k"}, "namespace": 1}, "namespace"),
        ({"op": "get", "params": {"key": "k"}, "namespace": {}}, "namespace"),
        ({"op": "get", "params": {"key": "k"}, "namespace": "n" * 256}, "namespace"),
        ({"op": "get", "params": {"key": "k"}, "namespace": "a\nb"}, "namespace"),
    ],
)
def test_a_malformed_request_is_refused(alice: ApiClient, body: Any, field: str) -> None:
    response = alice.post(PATH, body)

    assert response.status_code == 400
    assert list(response.json()) == ["details"]
    assert response.json()["details"].startswith(f"{field}: ")


@pytest.mark.parametrize(
    ("op", "params", "message"),
    [
        ("get", {"key": None}, "key: This field may not be null."),
        ("get", {"key": ""}, "key: This field may not be blank."),
        ("get", {"key": 5}, "key: Not a valid string."),
        ("get", {"key": True}, "key: Not a valid string."),
        ("get", {"key": "k" * 256}, "key: Ensure this field has no more than 255 characters."),
        ("get", {"key": "a\nb"}, "key: Character 2 is U+000A LINE FEED, which is not allowed. Remove it."),
        (
            "get",
            {"key": "ab\u202e"},
            "key: Character 3 is U+202E RIGHT-TO-LEFT OVERRIDE, which is not allowed. Remove it.",
        ),
        ("set", {"value": 1}, "key: This field is required."),
        ("set", {"key": "k"}, "value: This field is required."),
        ("set", {"key": "k", "value": 1, "ttl": 0}, "ttl: Ensure this value is greater than or equal to 1."),
        ("set", {"key": "k", "value": 1, "ttl": -1}, "ttl: Ensure this value is greater than or equal to 1."),
        (
            "set",
            {"key": "k", "value": 1, "ttl": 315_619_201},
            "ttl: Ensure this value is less than or equal to 315619200.",
        ),
        ("set", {"key": "k", "value": 1, "ttl": 1.5}, "ttl: A valid integer is required."),
        ("set", {"key": "k", "value": 1, "ttl": "60"}, "ttl: A valid integer is required."),
        ("set", {"key": "k", "value": 1, "ttl": True}, "ttl: A valid integer is required."),
        (
            "set",
            {"key": "k", "value": 1, "if_version": -1},
            "if_version: Ensure this value is greater than or equal to 0.",
        ),
        ("set", {"key": "k", "value": 1, "if_version": "1"}, "if_version: A valid integer is required."),
        ("delete", {}, "key: This field is required."),
        ("delete", {"key": "k", "if_version": 0}, "if_version: Ensure this value is greater than or equal to 1."),
        ("exists", {}, "key: This field is required."),
        ("increment", {"key": "k", "amount": "1"}, "amount: A valid number is required."),
        ("increment", {"key": "k", "amount": True}, "amount: A valid number is required."),
        ("increment", {"key": "k", "amount": None}, "amount: This field may not be null."),
        ("list", {"limit": 0}, "limit: Ensure this value is greater than or equal to 1."),
        ("list", {"limit": 251}, "limit: Ensure this value is less than or equal to 250."),
        ("list", {"limit": "10"}, "limit: A valid integer is required."),
        ("list", {"prefix": 1}, "prefix: Not a valid string."),
        ("list", {"prefix": "p" * 256}, "prefix: Ensure this field has no more than 255 characters."),
        ("list", {"cursor": 1}, "cursor: This is not a cursor of a list."),
        ("list", {"cursor": "%%%"}, "cursor: This is not a cursor of a list."),
        ("list", {"cursor": "a"}, "cursor: This is not a cursor of a list."),
        ("list", {"cursor": "\u00e9"}, "cursor: This is not a cursor of a list."),
        ("list", {"cursor": "_w"}, "cursor: This is not a cursor of a list."),
        ("list", {"cursor": "AA"}, "cursor: This is not a cursor of a list."),
        ("list", {"cursor": "YWFh" * 100}, "cursor: This is not a cursor of a list."),
        ("list", {"cursor": "YWFh" * 100_000}, "cursor: This is not a cursor of a list."),
        ("get_many", {}, "keys: This field is required."),
        ("get_many", {"keys": []}, "keys: This list may not be empty."),
        ("get_many", {"keys": "k"}, 'keys: Expected a list of items but got type "str".'),
        ("get_many", {"keys": {"k": 1}}, 'keys: Expected a list of items but got type "dict".'),
        ("get_many", {"keys": ["k", 7]}, "keys.1: Not a valid string."),
        ("get_many", {"keys": ["k"] * 101}, TOO_MANY_KEYS),
        ("delete_many", {"keys": ["k", ""]}, "keys.1: This field may not be blank."),
        ("delete_many", {"keys": [1] * 200_000}, TOO_MANY_KEYS),
        ("set_many", {}, "items: This field is required."),
        ("set_many", {"items": {}}, "items: This dictionary may not be empty."),
        ("set_many", {"items": [["k", 1]]}, 'items: Expected a dictionary of items but got type "list".'),
        (
            "set_many",
            {"items": {str(n): n for n in range(101)}},
            "items: There may be 100 keys at most. Send the others in another request.",
        ),
        ("set_many", {"items": {"": 1}}, "items: The key '' is not valid: This field may not be blank."),
        (
            "set_many",
            {"items": {"k" * 300: 1}},
            f"items: The key '{'k' * 50}…' is not valid: Ensure this field has no more than 255 characters.",
        ),
        (
            "set_many",
            {"items": {"\u00e9": 1, "e\u0301": 2}},
            "items: The key '\u00e9' appears twice, in two spellings. Send it once.",
        ),
        ("set_many", {"items": {"k": 1}, "ttl": 0}, "ttl: Ensure this value is greater than or equal to 1."),
    ],
)
def test_wrong_parameters_are_refused_by_name(alice: ApiClient, op: str, params: dict[str, Any], message: str) -> None:
    response = call(alice, op, params)

    assert response.status_code == 400
    assert response.json() == {"details": message}


def test_a_key_may_have_255_characters_of_any_script(alice: ApiClient) -> None:
    key = "\U0001f600" * 255
    put(alice, key, 1, namespace=key)

    assert read(alice, key, namespace=key) == 1


def test_both_unicode_spellings_of_a_text_are_one_key_and_one_namespace(alice: ApiClient) -> None:
    put(alice, "caf\u00e9", 1, namespace="re\u0301sume\u0301")

    assert read(alice, "cafe\u0301", namespace="r\u00e9sum\u00e9") == 1


def test_the_length_of_a_key_is_that_of_its_normal_form(alice: ApiClient) -> None:
    put(alice, "e\u0301" * 255, 1)

    assert read(alice, "\u00e9" * 255) == 1


def test_spaces_belong_to_a_key(alice: ApiClient) -> None:
    put(alice, " k ", 1)

    assert read(alice, " k ") == 1
    assert read(alice, "k") is None


@pytest.mark.parametrize(
    "value", ["x" * (VALUE_LIMIT - 2), "\u00e9" * (VALUE_LIMIT // 2 - 1), [1.5] * (VALUE_LIMIT // 4 - 1)]
)
def test_a_value_of_256_kib_is_stored(alice: ApiClient, value: Any) -> None:
    put(alice, "k", value)

    assert read(alice, "k") == value


def test_a_value_of_one_byte_more_is_refused(alice: ApiClient) -> None:
    response = call(alice, "set", {"key": "k", "value": "x" * (VALUE_LIMIT - 1)})

    assert response.status_code == 400
    assert response.json() == {"details": "value: A value may have 262144 bytes of JSON at most; this one has 262145."}


def test_whitespace_in_the_request_does_not_count_towards_the_limit(alice: ApiClient) -> None:
    body = b'{"op":"set","params":{"key":"k","value":[1,' + b" " * VALUE_LIMIT + b"2]}}"

    assert alice.post(PATH, raw=body).content == b"[1,2]"


def test_set_many_stores_nothing_if_one_value_is_too_large(alice: ApiClient) -> None:
    response = call(alice, "set_many", {"items": {"a": 1, "b": "x" * VALUE_LIMIT}})

    assert response.status_code == 400
    assert response.json()["details"].startswith("items: A value may have 262144 bytes")
    assert read(alice, "a") is None


def test_a_value_that_is_nested_too_deeply_is_refused(alice: ApiClient) -> None:
    deep = b"[" * 65 + b"]" * 65

    response = alice.post(PATH, raw=b'{"op":"set","params":{"key":"k","value":' + deep + b"}}")

    assert response.status_code == 400
    assert read(alice, "k") is None


def test_an_answer_that_would_be_too_large_is_refused(alice: ApiClient) -> None:
    keys = [str(number) for number in range(33)]
    for key in keys:
        put(alice, key, "x" * (VALUE_LIMIT - 2))

    refused = call(alice, "get_many", {"keys": keys})
    answered = call(alice, "get_many", {"keys": keys[:32]})

    assert refused.status_code == 400
    assert refused.json()["details"].startswith("keys: The values have more than 8388608 bytes in total")
    assert list(answered.json()) == keys[:32]


@pytest.mark.parametrize("name", HOSTILE_BODIES)
def test_a_hostile_body_gets_a_documented_error(alice: ApiClient, name: str) -> None:
    response = alice.post(PATH, raw=HOSTILE_BODIES[name])

    assert_documented_error(response)


@pytest.mark.parametrize("content_type", HOSTILE_CONTENT_TYPES)
def test_a_hostile_content_type_gets_a_documented_error(alice: ApiClient, content_type: str) -> None:
    response = alice.post(PATH, {"op": "get", "params": {}}, headers={"Content-Type": content_type})

    assert_documented_error(response)


@pytest.mark.parametrize("value", HOSTILE_HEADER_VALUES)
@pytest.mark.parametrize("header", ["X-API-KEY", "X-EXCHANGE-TOKEN"])
def test_a_hostile_header_gets_a_documented_error(alice: ApiClient, header: str, value: str) -> None:
    response = call(alice, "get", {}, headers={header: value})

    assert_documented_error(response)


@pytest.mark.parametrize("query", HOSTILE_QUERIES)
def test_a_hostile_query_gets_a_documented_error(alice: ApiClient, query: str) -> None:
    response = alice.post(f"{PATH}?{query}", {"op": "get", "params": {}})

    assert_documented_error(response)


ODD_VALUES: list[Any] = [
    *(None, True, 0, -1, 1.5, 2**63, 2**64 - 1, -(2**63), 1e308, "", " ", "\u2028", "\ufdfa" * 255, "\U000e0001"),
    *("%", "_", "a\u0301" * 40, "a" + "\u0301" * 40, "'; --", "%(key)s", "{owner}"),
    *([], [None], [[]], {}, {"": {}}, {"a\tb": 1}, {"%s": "%s"}),
]


@pytest.mark.parametrize(("op", "field"), [(op, field) for op in PARAMS for field in PARAMS[op]().fields])
def test_an_odd_parameter_is_accepted_or_gets_a_documented_error(alice: ApiClient, op: str, field: str) -> None:
    usual = {"key": "k", "value": 1, "keys": ["k"], "items": {"k": 1}}
    for value in ODD_VALUES:
        response = call(alice, op, {**usual, field: value})

        if response.status_code not in (200, 409):
            assert (response.status_code, list(response.json())) == (400, ["details"]), (value, response.content)


def assert_documented_error(response: Any) -> None:
    body = response.json()
    assert 400 <= response.status_code < 500
    assert list(body) == ["details"] or list(body)[:2] == ["detail", "code"]
    assert response.headers["Content-Type"] == "application/json"
    assert len(response.content) < 1000


def nested(levels: int) -> object:
    value: object = 0
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize("op", ["set", "set_many"])
def test_a_value_may_be_64_levels_deep_and_no_deeper(alice: ApiClient, op: str) -> None:
    def store(value: object) -> dict[str, Any]:
        params = {"key": "k", "value": value} if op == "set" else {"items": {"k": value}}
        response = alice.post("/v1/platform/storage/", {"op": op, "params": params})
        return {"status": response.status_code, "answer": response.json()}

    accepted, refused, absurd = store(nested(64)), store(nested(65)), store(nested(200))

    assert accepted["status"] == 200
    assert alice.post("/v1/platform/storage/", {"op": "get", "params": {"key": "k"}}).json() == nested(64)
    for answer in (refused, absurd):
        assert answer["status"] == 400
        assert set(answer["answer"]) == {"details"}
