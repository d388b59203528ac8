"""Versions, and the operations other than get, set and delete."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api import ApiClient
from tests.storage.calls import PATH, call, put, read


def test_exists_says_whether_there_is_an_item(alice: ApiClient) -> None:
    put(alice, "k", None)

    assert call(alice, "exists", {"key": "k"}).content == b'{"exists":true}'
    assert call(alice, "exists", {"key": "l"}).content == b'{"exists":false}'


# Versions


def test_each_write_adds_one_to_the_version(alice: ApiClient) -> None:
    versions = [call(alice, "set", {"key": "k", "value": 1}).headers["X-Storage-Version"] for _ in range(3)]
    versions.append(call(alice, "increment", {"key": "k"}).headers["X-Storage-Version"])
    call(alice, "set_many", {"items": {"k": 7}})
    versions.append(call(alice, "get", {"key": "k"}).headers["X-Storage-Version"])

    assert versions == ["1", "2", "3", "4", "5"]


def test_an_item_that_is_created_again_starts_at_version_one(alice: ApiClient) -> None:
    put(alice, "k", 1)
    put(alice, "k", 2)
    call(alice, "delete", {"key": "k"})

    assert call(alice, "set", {"key": "k", "value": 3}).headers["X-Storage-Version"] == "1"


def test_a_write_over_the_expected_version_succeeds(alice: ApiClient) -> None:
    put(alice, "k", "first")

    response = call(alice, "set", {"key": "k", "value": "second", "if_version": 1})

    assert (response.status_code, response.content) == (200, b'"second"')
    assert response.headers["X-Storage-Version"] == "2"


@pytest.mark.parametrize("if_version", [0, 1, 3])
def test_a_write_over_another_version_is_refused_and_changes_nothing(alice: ApiClient, if_version: int) -> None:
    put(alice, "k", "first")
    put(alice, "k", "second")

    response = call(alice, "set", {"key": "k", "value": "third", "if_version": if_version})

    assert response.status_code == 409
    assert response.json() == {
        "detail": "The item does not have the version that if_version names",
        "code": "version_conflict",
    }
    assert read(alice, "k") == "second"
    assert call(alice, "get", {"key": "k"}).headers["X-Storage-Version"] == "2"


def test_version_zero_requires_that_the_item_does_not_exist(alice: ApiClient) -> None:
    response = call(alice, "set", {"key": "k", "value": 1, "if_version": 0})

    assert (response.status_code, response.headers["X-Storage-Version"]) == (200, "1")


def test_a_conditional_write_to_a_missing_item_is_refused(alice: ApiClient) -> None:
    assert call(alice, "set", {"key": "k", "value": 1, "if_version": 1}).status_code == 409
    assert read(alice, "k") is None


def test_a_null_version_sets_no_condition(alice: ApiClient) -> None:
    put(alice, "k", 1)

    assert call(alice, "set", {"key": "k", "value": 2, "if_version": None, "ttl": None}).status_code == 200
    assert call(alice, "delete", {"key": "k", "if_version": None}).status_code == 200


def test_delete_removes_only_the_expected_version(alice: ApiClient) -> None:
    put(alice, "k", 1)

    refused = call(alice, "delete", {"key": "k", "if_version": 2})
    still_there = read(alice, "k")
    removed = call(alice, "delete", {"key": "k", "if_version": 1})
    gone = call(alice, "delete", {"key": "k", "if_version": 1})

    assert (refused.status_code, refused.json()["code"], still_there) == (409, "version_conflict", 1)
    assert (removed.status_code, removed.content) == (200, b"{}")
    assert gone.status_code == 409


# Counting


@pytest.mark.parametrize(
    ("stored", "amount", "total"),
    [
        ("0", "1", "1"),
        ("41", "1", "42"),
        ("1", "-5", "-4"),
        ("1", "0.5", "1.5"),
        ("1.5", "0.5", "2.0"),
        ("1.0", "1", "2.0"),
        ("18446744073709551614", "1", "18446744073709551615"),
        ("-9223372036854775807", "-1", "-9223372036854775808"),
        ("9223372036854775807", "1", "9223372036854775808"),
        ("1e308", "-1e308", "0.0"),
    ],
)
def test_increment_adds(alice: ApiClient, stored: str, amount: str, total: str) -> None:
    alice.post(PATH, raw=f'{{"op":"set","params":{{"key":"k","value":{stored}}}}}'.encode())

    response = alice.post(PATH, raw=f'{{"op":"increment","params":{{"key":"k","amount":{amount}}}}}'.encode())

    assert (response.status_code, response.content.decode()) == (200, total)
    assert response.headers["X-Storage-Version"] == "2"
    assert call(alice, "get", {"key": "k"}).content.decode() == total


def test_increment_of_a_missing_item_starts_at_zero(alice: ApiClient) -> None:
    response = call(alice, "increment", {"key": "k", "amount": 5})

    assert (response.status_code, response.content, response.headers["X-Storage-Version"]) == (200, b"5", "1")


def test_increment_adds_one_unless_told_otherwise(alice: ApiClient) -> None:
    call(alice, "increment", {"key": "k"})

    assert call(alice, "increment", {"key": "k"}).content == b"2"


@pytest.mark.parametrize("value", [None, True, "1", [], {}, [1]])
def test_only_numbers_can_be_incremented(alice: ApiClient, value: Any) -> None:
    put(alice, "k", value)

    response = call(alice, "increment", {"key": "k"})

    assert (response.status_code, response.json()) == (400, {"details": "key: The item is not a number."})
    assert read(alice, "k") == value


@pytest.mark.parametrize(
    ("stored", "amount"), [(2**64 - 1, 1), (-(2**63), -1), (2**63, 2**63), (1.7e308, 1.7e308), (-1.7e308, -1.7e308)]
)
def test_a_sum_beyond_64_bits_is_refused(alice: ApiClient, stored: float, amount: float) -> None:
    put(alice, "k", stored)

    response = call(alice, "increment", {"key": "k", "amount": amount})

    assert (response.status_code, response.json()) == (400, {"details": "amount: The sum is beyond 64 bits."})
    assert read(alice, "k") == stored


# Many at once


def test_set_many_stores_all_items_and_returns_them_in_order(alice: ApiClient) -> None:
    response = call(alice, "set_many", {"items": {"z": 1, "a": {"y": None, "b": 1.0}, "m": "%s"}})

    assert (response.status_code, response.content) == (200, b'{"z":1,"a":{"y":null,"b":1.0},"m":"%s"}')
    assert [read(alice, key) for key in ("z", "a", "m")] == [1, {"y": None, "b": 1.0}, "%s"]


def test_set_many_overwrites_existing_items(alice: ApiClient) -> None:
    put(alice, "a", 1)

    call(alice, "set_many", {"items": {"a": 2, "b": 2}})

    assert call(alice, "get", {"key": "a"}).headers["X-Storage-Version"] == "2"
    assert call(alice, "get", {"key": "b"}).headers["X-Storage-Version"] == "1"


def test_a_hundred_items_fit_into_one_request(alice: ApiClient) -> None:
    items = {f"k{number}": number for number in range(100)}

    assert call(alice, "set_many", {"items": items}).json() == items
    assert call(alice, "get_many", {"keys": list(items)}).json() == items
    assert call(alice, "delete_many", {"keys": list(items)}).content == b"{}"
    assert call(alice, "get_many", {"keys": list(items)}).json() == {}


def test_get_many_returns_existing_items_in_the_requested_order(alice: ApiClient) -> None:
    call(alice, "set_many", {"items": {"a": None, "b": 0, "c": ""}})

    response = call(alice, "get_many", {"keys": ["c", "missing", "a", "b", "c"]})

    assert (response.status_code, response.content) == (200, b'{"c":"","a":null,"b":0}')


def test_delete_many_removes_only_the_named_items(alice: ApiClient) -> None:
    call(alice, "set_many", {"items": {"a": 1, "b": 2, "c": 3}})

    response = call(alice, "delete_many", {"keys": ["a", "missing", "c", "a"]})

    assert (response.status_code, response.content) == (200, b"{}")
    assert call(alice, "get_many", {"keys": ["a", "b", "c"]}).json() == {"b": 2}


# Lists


def test_list_of_an_empty_bucket(alice: ApiClient) -> None:
    assert call(alice, "list").json() == {"results": [], "next_cursor": None}


def test_list_returns_everything_about_an_item_but_its_value(alice: ApiClient) -> None:
    put(alice, "k", 1)

    (item,) = call(alice, "list").json()["results"]

    assert list(item) == ["key", "version", "expires_at", "created_at", "updated_at"]
    assert (item["key"], item["version"], item["expires_at"]) == ("k", 1, None)
    assert item["created_at"].endswith("Z")


def test_list_is_ordered_by_code_points(alice: ApiClient) -> None:
    keys = ["\U0001f600", "\uffee", "\u00e9", "z", "a", "_", "Z", "9", "10", " "]
    call(alice, "set_many", {"items": dict.fromkeys(keys, 1)})

    assert keys_of(call(alice, "list")) == sorted(keys)


@pytest.mark.parametrize(
    ("prefix", "found"),
    [
        ("", ["%a", "User:3", "_a", "user", "user:1", "user:10", "user:2", "useruser:"]),
        (None, ["%a", "User:3", "_a", "user", "user:1", "user:10", "user:2", "useruser:"]),
        ("user:", ["user:1", "user:10", "user:2"]),
        ("user:1", ["user:1", "user:10"]),
        ("%", ["%a"]),
        ("_", ["_a"]),
        ("\\", []),
        ("nothing", []),
    ],
)
def test_list_by_prefix(alice: ApiClient, prefix: str | None, found: list[str]) -> None:
    keys = ["user:1", "user:10", "user:2", "useruser:", "user", "User:3", "%a", "_a"]
    call(alice, "set_many", {"items": dict.fromkeys(keys, 1)})

    assert keys_of(call(alice, "list", {"prefix": prefix})) == found


@pytest.mark.parametrize("limit", [1, 2, 3, 6, 7, 8, 250])
def test_pages_hold_each_item_once(alice: ApiClient, limit: int) -> None:
    call(alice, "set_many", {"items": {f"k{number}\u00e9/+": number for number in range(7)} | {"other": 1}})
    keys: list[str] = []
    cursor = None

    for _page in range(8):
        page = call(alice, "list", {"prefix": "k", "limit": limit, "cursor": cursor})
        keys += keys_of(page)
        cursor = page.json()["next_cursor"]
        if cursor is None:
            break

    assert keys == [f"k{number}\u00e9/+" for number in range(7)]


def test_a_cursor_outlives_the_item_at_its_position(alice: ApiClient) -> None:
    call(alice, "set_many", {"items": {"a": 1, "b": 2, "c": 3, "d": 4}})
    cursor = call(alice, "list", {"limit": 2}).json()["next_cursor"]

    call(alice, "delete_many", {"keys": ["a", "b"]})
    put(alice, "aa", 1)

    assert keys_of(call(alice, "list", {"cursor": cursor})) == ["c", "d"]


def test_a_page_has_250_items_at_most(alice: ApiClient) -> None:
    for start in range(0, 300, 100):
        call(alice, "set_many", {"items": {f"k{number:03}": 1 for number in range(start, start + 100)}})

    page = call(alice, "list")

    assert len(page.json()["results"]) == 250
    assert keys_of(call(alice, "list", {"cursor": page.json()["next_cursor"]})) == [f"k{n:03}" for n in range(250, 300)]


def test_a_cursor_gives_access_only_to_the_callers_own_bucket(alice: ApiClient, mallory: ApiClient) -> None:
    call(alice, "set_many", {"items": {"a": 1, "b": 2}})
    cursor = call(alice, "list", {"limit": 1}).json()["next_cursor"]

    assert keys_of(call(mallory, "list", {"cursor": cursor})) == []


def keys_of(response: Any) -> list[str]:
    return [item["key"] for item in response.json()["results"]]


def test_many_items_are_returned_under_the_requested_spelling(alice: ApiClient) -> None:
    composed, decomposed = "caf\u00e9", "cafe\u0301"

    assert call(alice, "set_many", {"items": {decomposed: 1, "b": 2}}).json() == {decomposed: 1, "b": 2}
    assert call(alice, "get_many", {"keys": [decomposed, "b"]}).json() == {decomposed: 1, "b": 2}
    assert call(alice, "get_many", {"keys": [composed, decomposed, "none"]}).json() == {composed: 1, decomposed: 1}
    assert [item["key"] for item in call(alice, "list").json()["results"]] == ["b", composed]
    assert call(alice, "delete_many", {"keys": [decomposed, composed]}).json() == {}
    assert call(alice, "exists", {"key": composed}).json() == {"exists": False}


@pytest.mark.parametrize(
    "key", ["\U0001f469\u200d\U0001f4bb", "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "\u05d0\u200f!"]
)
def test_keys_accept_text_of_any_language(alice: ApiClient, key: str) -> None:
    put(alice, key, 1)

    assert read(alice, key) == 1
