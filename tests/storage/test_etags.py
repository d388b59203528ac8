"""`ETag` and `If-Match` of stored items."""

from __future__ import annotations

from typing import Any

import pytest

from storage.models import Item
from tests.api import ApiClient, ApiResponse
from tests.storage.calls import PATH, call, put, read

pytestmark = pytest.mark.django_db

WRITES: dict[str, dict[str, Any]] = {
    "set": {"key": "k", "value": 7},
    "increment": {"key": "k", "amount": 2},
    "delete": {"key": "k"},
}


def write(client: ApiClient, op: str, if_match: str, **params: Any) -> ApiResponse:
    body = {"op": op, "params": params or WRITES[op]}
    return client.post(PATH, body, headers={"If-Match": if_match})


def tag(client: ApiClient) -> str:
    return call(client, "get", {"key": "k"})["ETag"]


def stored_tag(client: ApiClient, value: int) -> str:
    """Stores a value, and returns the tag in the answer."""
    return call(client, "set", {"key": "k", "value": value})["ETag"]


def test_an_item_has_a_tag_that_each_write_changes(alice: ApiClient) -> None:
    tags = [stored_tag(alice, 5), tag(alice), call(alice, "increment", {"key": "k"})["ETag"], tag(alice)]
    tags.append(stored_tag(alice, 6))

    assert tags[0] == tags[1] != tags[2] == tags[3] != tags[4]
    assert all(each.startswith('"') for each in tags)


def test_an_item_that_is_deleted_and_made_again_has_another_tag(alice: ApiClient) -> None:
    put(alice, "k", 5)
    first = tag(alice)

    call(alice, "delete", {"key": "k"})
    put(alice, "k", 6)

    assert Item.objects.get().version == 1
    assert tag(alice) != first


def test_a_missing_item_has_no_tag(alice: ApiClient) -> None:
    assert "ETag" not in call(alice, "get", {"key": "k"})


@pytest.mark.parametrize("op", WRITES)
def test_a_write_of_the_right_version_succeeds(alice: ApiClient, op: str) -> None:
    for if_match in ("{current}", '"x", {current}', "*"):
        put(alice, "k", 5)
        assert write(alice, op, if_match.format(current=tag(alice))).status_code == 200


@pytest.mark.parametrize("op", WRITES)
def test_a_write_of_another_version_is_refused(alice: ApiClient, op: str) -> None:
    old = stored_tag(alice, 5)
    put(alice, "k", 6)

    for if_match in (old, '"x"', f"W/{tag(alice)}"):
        response = write(alice, op, if_match)
        assert (response.status_code, response.json()["code"]) == (412, "precondition_failed")
    assert read(alice, "k") == 6


@pytest.mark.parametrize("op", WRITES)
def test_a_write_of_a_missing_item_is_refused(alice: ApiClient, op: str) -> None:
    assert write(alice, op, "*").status_code == 412
    assert not Item.objects.exists()


def test_reads_ignore_the_condition_and_writes_of_several_items_refuse_it(alice: ApiClient) -> None:
    put(alice, "k", 5)

    assert write(alice, "get", '"x"', key="k").json() == 5
    response = write(alice, "set_many", '"x"', items={"k": 6})
    assert response.status_code == 400
    assert response.json() == {"details": "If-Match is for operations on one item. Leave it out."}
    assert write(alice, "delete_many", "*", keys=["k"]).status_code == 400
    assert read(alice, "k") == 5


def test_a_strangers_item_is_missing(alice: ApiClient, mallory: ApiClient) -> None:
    put(alice, "k", 5)

    assert write(mallory, "delete", tag(alice)).status_code == 412
    assert (
        alice.post(PATH, {"op": "delete", "params": {"key": "k"}}, key=None, headers={"If-Match": "*"}).status_code
        == 401
    )
