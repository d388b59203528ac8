"""Items expire after their time to live."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from commands_platform.lib import clock
from storage import expiry
from storage.models import Item
from tests.api import ApiClient
from tests.storage.calls import call, expire, put, read


@pytest.mark.parametrize("seconds", [1, 60, 315_619_200])
def test_an_item_lives_for_its_ttl(alice: ApiClient, seconds: int) -> None:
    call(alice, "set", {"key": "k", "value": 1, "ttl": seconds})

    item = Item.objects.get()
    assert item.expires_at is not None
    assert item.expires_at - item.updated_at == timedelta(seconds=seconds)
    assert read(alice, "k") == 1
    (listed,) = call(alice, "list").json()["results"]
    assert listed["expires_at"].endswith("Z")


@pytest.mark.parametrize(
    ("op", "params", "answer"),
    [
        ("get", {"key": "k"}, {}),
        ("exists", {"key": "k"}, {"exists": False}),
        ("list", {}, {"results": [], "next_cursor": None}),
        ("get_many", {"keys": ["k"]}, {}),
        ("increment", {"key": "k", "amount": 3}, 3),
        ("set", {"key": "k", "value": 9, "if_version": 0}, 9),
        ("delete", {"key": "k"}, {}),
        ("delete_many", {"keys": ["k"]}, {}),
    ],
)
def test_an_expired_item_counts_as_missing(alice: ApiClient, op: str, params: dict[str, Any], answer: Any) -> None:
    call(alice, "set", {"key": "k", "value": 7, "ttl": 60})
    expire("k")

    response = call(alice, op, params)

    assert (response.status_code, response.json()) == (200, answer)


def test_get_reports_an_expired_item_as_not_found(alice: ApiClient) -> None:
    call(alice, "set", {"key": "k", "value": 7, "ttl": 60})
    expire("k")

    assert call(alice, "get", {"key": "k"}).headers["X-Storage-Found"] == "false"


@pytest.mark.parametrize("op", ["set", "delete"])
def test_an_expired_item_has_no_version(alice: ApiClient, op: str) -> None:
    call(alice, "set", {"key": "k", "value": 7, "ttl": 60})
    expire("k")

    assert call(alice, op, {"key": "k", "value": 8, "if_version": 1}).status_code == 409


@pytest.mark.parametrize(
    ("op", "params"),
    [
        ("set", {"key": "k", "value": 1}),
        ("set", {"key": "k", "value": 1, "if_version": 0}),
        ("set_many", {"items": {"k": 1}}),
        ("increment", {"key": "k"}),
    ],
)
def test_writing_over_an_expired_item_creates_a_new_one(alice: ApiClient, op: str, params: dict[str, Any]) -> None:
    for _ in range(3):
        call(alice, "set", {"key": "k", "value": 7, "ttl": 60})
    expire("k")
    Item.objects.update(created_at=timezone.now() - timedelta(days=1))

    call(alice, op, params)

    item = Item.objects.get()
    assert (item.value, item.version, item.expires_at) == (1, 1, None)
    assert clock.now() - item.created_at < timedelta(hours=1)


def test_a_set_without_a_ttl_removes_an_earlier_one(alice: ApiClient) -> None:
    call(alice, "set", {"key": "k", "value": 1, "ttl": 60})
    put(alice, "k", 2)
    call(alice, "set", {"key": "l", "value": 1, "ttl": 60})
    call(alice, "set", {"key": "l", "value": 2, "if_version": 1})
    call(alice, "set_many", {"items": {"m": 1}, "ttl": 60})
    call(alice, "set_many", {"items": {"m": 2}})

    assert [item.expires_at for item in Item.objects.all()] == [None, None, None]


def test_a_conditional_set_accepts_a_ttl(alice: ApiClient) -> None:
    put(alice, "k", 1)

    call(alice, "set", {"key": "k", "value": 2, "if_version": 1, "ttl": 60})

    assert Item.objects.get().expires_at is not None


def test_set_many_gives_all_its_items_the_ttl(alice: ApiClient) -> None:
    call(alice, "set_many", {"items": {"a": 1, "b": 2}, "ttl": 60})

    assert Item.objects.filter(expires_at__isnull=False).count() == 2


def test_only_the_first_increment_sets_the_ttl(alice: ApiClient) -> None:
    call(alice, "increment", {"key": "k", "ttl": 60})
    first = Item.objects.get().expires_at

    call(alice, "increment", {"key": "k", "ttl": 3600})
    call(alice, "increment", {"key": "k"})

    assert first is not None
    assert Item.objects.get().expires_at == first
    assert read(alice, "k") == 3


def test_an_increment_sets_no_ttl_on_an_existing_item_without_one(alice: ApiClient) -> None:
    put(alice, "k", 1)

    call(alice, "increment", {"key": "k", "ttl": 60})

    assert Item.objects.get().expires_at is None


def test_the_sweep_removes_only_expired_items(alice: ApiClient) -> None:
    call(alice, "set_many", {"items": {"old": 1, "older": 2, "young": 3}, "ttl": 60})
    put(alice, "eternal", 4)
    expire("old", "older")

    expiry.remove_expired()

    assert set(Item.objects.values_list("key", flat=True)) == {"young", "eternal"}


@pytest.mark.parametrize(("limit", "removed"), [(0, 0), (1, 1), (4, 4), (5, 5), (100, 5)])
def test_the_sweep_removes_no_more_than_its_limit(
    alice: ApiClient, limit: int, removed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expiry, "MAX_BATCH", 2)
    keys = [str(number) for number in range(5)]
    call(alice, "set_many", {"items": dict.fromkeys(keys, 1), "ttl": 60})
    expire(*keys)

    assert expiry.remove_expired(limit=limit) == removed
    assert Item.objects.count() == 5 - removed


def test_the_sweep_begins_with_the_items_that_expired_first(alice: ApiClient) -> None:
    call(alice, "set_many", {"items": {"a": 1, "b": 2, "c": 3}, "ttl": 60})
    for days, key in enumerate("bca"):
        Item.objects.filter(key=key).update(expires_at=timezone.now() - timedelta(days=9 - days))

    expiry.remove_expired(limit=2)

    assert Item.objects.get().key == "a"


def test_an_item_knows_whether_it_has_expired(alice: ApiClient) -> None:
    call(alice, "set", {"key": "k", "value": 1, "ttl": 60})
    item = Item.objects.get()
    assert item.expires_at is not None

    assert not item.is_expired_at(item.expires_at - timedelta(microseconds=1))
    assert item.is_expired_at(item.expires_at)
