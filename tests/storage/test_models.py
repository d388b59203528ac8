"""Which items the database accepts."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.db.models import ProtectedError

from storage.models import Item
from tests.api import ApiClient
from tests.factories import make_user


def values_of(client: ApiClient, **values: Any) -> dict[str, Any]:
    caller = client.caller
    usual = {"organization": caller.organization, "command": caller.command, "user": caller.user}
    return {**usual, "key": "k", "value": 1, **values}


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"namespace": "n"},
        {"user": None},
        {"user": None, "namespace": "n"},
        {"user": None, "command": None, "namespace": "n"},
    ],
)
def test_a_bucket_has_at_most_one_item_per_key(alice: ApiClient, values: dict[str, Any]) -> None:
    Item.objects.create(**values_of(alice, **values))

    with pytest.raises(IntegrityError, match="storage_item_place"), transaction.atomic():
        Item.objects.create(**values_of(alice, **values))


@pytest.mark.parametrize(
    ("values", "constraint"),
    [
        ({"command": None}, "storage_item_bucket"),
        ({"command": None, "namespace": "n"}, "storage_item_bucket"),
        ({"command": None, "user": None}, "storage_item_bucket"),
        ({"key": ""}, "storage_item_key"),
        ({"version": 0}, "storage_item_version"),
    ],
)
def test_an_inconsistent_item_cannot_be_stored(alice: ApiClient, values: dict[str, Any], constraint: str) -> None:
    with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
        Item.objects.create(**values_of(alice, **values))


def test_a_user_who_has_items_cannot_be_deleted(alice: ApiClient) -> None:
    user = make_user(alice.caller.organization)
    Item.objects.create(**values_of(alice, user=user))

    with pytest.raises(ProtectedError):
        user.delete()


def test_an_item_is_displayed_as_its_key(alice: ApiClient) -> None:
    assert str(Item.objects.create(**values_of(alice, key="color"))) == "color"
