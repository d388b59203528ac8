"""Items in the admin can be viewed and deleted."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from commands_platform.lib import clock
from storage.models import Item
from tests.admin import make_operator, page, page_of
from tests.factories import make_organization


@pytest.fixture
def operator(db: None) -> Client:
    return make_operator(is_superuser=True)


def _make_item(**values: Any) -> Item:
    defaults = {"organization": make_organization(), "namespace": "flags", "key": "beta", "value": True}
    return Item.objects.create(**{**defaults, **values})


def test_an_item_is_deleted(operator: Client) -> None:
    item = _make_item()

    operator.post(page_of(item, "delete"), {"post": "yes"})

    assert not Item.objects.exists()


def test_the_list_shows_the_sizes_of_values_without_reading_them(operator: Client) -> None:
    _make_item(value="a" * 2046)

    with CaptureQueriesContext(connection) as queries:
        html = operator.get(page(Item, "changelist")).content.decode()

    assert "2.0 KiB" in html
    assert not [query["sql"] for query in queries if 'SELECT "storage_item"."value"' in query["sql"]]
    assert not [query["sql"] for query in queries if ', "storage_item"."value"' in query["sql"]]


def test_keys_and_values_are_shown_as_text_and_never_as_html(operator: Client) -> None:
    item = _make_item(key="<b>key</b>", value={"text": "<script>alert(1)</script>"})

    html = operator.get(page_of(item)).content.decode()

    assert "&lt;script&gt;alert(1)" in html
    assert "&lt;b&gt;key&lt;/b&gt;" in html
    assert "<script>alert(1)" not in html
    assert "<b>key</b>" not in html


def test_an_item_is_found_by_its_exact_key(operator: Client) -> None:
    item = _make_item(key="theme")
    _make_item(key="themes")

    response = operator.get(page(Item, "changelist"), {"q": "theme"})

    assert list(response.context["cl"].result_list) == [item]


def test_an_expired_item_is_marked(operator: Client) -> None:
    _make_item(expires_at=clock.now() - timedelta(hours=1))

    assert "expired" in operator.get(page(Item, "changelist")).content.decode()
