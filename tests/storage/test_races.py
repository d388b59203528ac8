"""Concurrent writers. Each test holds a lock, waits until the others wait for it, and releases it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection, transaction

from storage import expiry
from storage.models import Item
from tests.api import ApiClient, ApiResponse
from tests.locks import wait_for_waiters
from tests.storage.calls import call, expire, put, read
from tests.threads import Threads

pytestmark = pytest.mark.django_db(transaction=True)


@contextmanager
def held(*keys: str) -> Iterator[None]:
    """Holds the rows of these keys for the length of the block."""
    with transaction.atomic():
        assert len(Item.objects.select_for_update().filter(key__in=keys)) == len(keys)
        yield


def test_no_increment_is_lost(alice: ApiClient, threads: Threads) -> None:
    put(alice, "k", 10)

    with held("k"):
        answers = [threads.start(lambda: call(alice, "increment", {"key": "k"})) for _ in range(3)]
        wait_for_waiters(3)

    assert sorted(answer.result().json() for answer in answers) == [11, 12, 13]
    assert read(alice, "k") == 13


def test_no_increment_of_a_new_item_is_lost(alice: ApiClient, threads: Threads) -> None:
    with transaction.atomic():
        put(alice, "k", 100)
        answers = [threads.start(lambda: call(alice, "increment", {"key": "k"})) for _ in range(3)]
        wait_for_waiters(3)
        transaction.set_rollback(True)

    assert sorted(answer.result().json() for answer in answers) == [1, 2, 3]
    assert read(alice, "k") == 3


def test_an_increment_adds_to_a_value_that_was_set_meanwhile(alice: ApiClient, threads: Threads) -> None:
    with transaction.atomic():
        put(alice, "k", 100)
        answer = threads.start(lambda: call(alice, "increment", {"key": "k"}))
        wait_for_waiters(1)

    assert answer.result().json() == 101


def test_only_one_of_two_writers_over_a_version_succeeds(alice: ApiClient, threads: Threads) -> None:
    put(alice, "k", "first")
    params = {"key": "k", "value": "second", "if_version": 1}

    with held("k"):
        answers = [threads.start(lambda: call(alice, "set", params)) for _ in range(2)]
        wait_for_waiters(2)

    assert sorted(answer.result().status_code for answer in answers) == [200, 409]
    assert call(alice, "get", {"key": "k"}).headers["X-Storage-Version"] == "2"


def test_only_one_of_two_writers_creates_a_new_item(alice: ApiClient, threads: Threads) -> None:
    put(alice, "k", "expired")
    expire("k")
    params = {"key": "k", "value": "new", "if_version": 0}

    with held("k"):
        answers = [threads.start(lambda: call(alice, "set", params)) for _ in range(2)]
        wait_for_waiters(2)

    assert sorted(answer.result().status_code for answer in answers) == [200, 409]


def test_a_conditional_delete_does_not_remove_a_version_it_has_not_seen(alice: ApiClient, threads: Threads) -> None:
    put(alice, "k", "first")

    with transaction.atomic():
        put(alice, "k", "second")
        answer = threads.start(lambda: call(alice, "delete", {"key": "k", "if_version": 1}))
        wait_for_waiters(1)

    assert answer.result().status_code == 409
    assert read(alice, "k") == "second"


def test_a_delete_removes_a_value_written_while_it_waited(alice: ApiClient, threads: Threads) -> None:
    put(alice, "k", "first")

    with transaction.atomic():
        put(alice, "k", "second")
        answer = threads.start(lambda: call(alice, "delete", {"key": "k"}))
        wait_for_waiters(1)

    assert answer.result().status_code == 200
    assert not Item.objects.exists()


def call_without_index(client: ApiClient, op: str, params: dict[str, Any]) -> ApiResponse:
    """Sends the call on a connection that reads rows in the order of the table, as the planner may choose to do."""
    with connection.cursor() as cursor:
        cursor.execute("SET enable_indexscan = off; SET enable_bitmapscan = off")
    return call(client, op, params)


@pytest.mark.parametrize("op", ["set_many", "delete_many"])
@pytest.mark.parametrize("exists", [True, False])
def test_writers_of_many_items_in_opposite_orders_do_not_deadlock(
    alice: ApiClient, threads: Threads, op: str, exists: bool
) -> None:
    """If they locked rows in the order of the request or of the table, the first would hold `a`, the second `z`, and
    both would wait for `m`. Then they would wait for each other.
    """
    forth, back = ["a", "m", "z"], ["z", "m", "a"]
    for key in back if exists else ["m"]:
        put(alice, key, 0)

    with held("m"):
        one = threads.start(lambda: call(alice, "set_many", {"items": dict.fromkeys(forth, 1)}))
        wait_for_waiters(1)
        two = threads.start(lambda: call_without_index(alice, op, {"keys": back, "items": dict.fromkeys(back, 2)}))
        wait_for_waiters(2)

    assert [one.result().status_code, two.result().status_code] == [200, 200]
    found = call(alice, "get_many", {"keys": forth}).json()
    assert found == (dict.fromkeys(forth, 2) if op == "set_many" else {} if exists else {"a": 1, "z": 1})


def test_the_sweep_skips_locked_items(alice: ApiClient, threads: Threads) -> None:
    call(alice, "set_many", {"items": {"a": 1, "b": 2}, "ttl": 60})
    expire("a", "b")

    with held("a"):
        removed = threads.start(expiry.remove_expired).result(timeout=10)

    assert removed == 1
    assert Item.objects.get().key == "a"


def test_the_sweep_spares_an_item_that_is_rewritten_meanwhile(alice: ApiClient, threads: Threads) -> None:
    put(alice, "k", "old")
    expire("k")

    with transaction.atomic():
        put(alice, "k", "new")
        removed = threads.start(expiry.remove_expired).result(timeout=10)

    assert removed == 0
    assert read(alice, "k") == "new"
