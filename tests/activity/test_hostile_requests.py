"""Hostile requests to `/v1/platform/activity/` are answered in JSON."""

from __future__ import annotations

import orjson
import pytest

from tests.activity.records import BODY, KEYS, PATH, make_record
from tests.api import ApiClient
from tests.lib.hostile import HOSTILE_BODIES, HOSTILE_CONTENT_TYPES, HOSTILE_HEADER_VALUES, HOSTILE_QUERIES

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("name", HOSTILE_BODIES)
def test_a_hostile_body_is_answered_in_json(alice: ApiClient, name: str) -> None:
    response = alice.post(PATH, raw=HOSTILE_BODIES[name])

    answer = orjson.loads(response.content)
    assert response.status_code < 500
    if response.status_code == 201:
        assert list(answer) == KEYS
    else:
        assert {"detail", "code"} <= set(answer) <= {"detail", "code", "errors"}


@pytest.mark.parametrize("query", HOSTILE_QUERIES, ids=range(len(HOSTILE_QUERIES)))
def test_a_hostile_query_is_answered_in_json(alice: ApiClient, query: str) -> None:
    make_record(alice.caller)
    make_record(alice.caller)

    response = alice.get(f"{PATH}?{query}")

    answer = orjson.loads(response.content)
    assert response.status_code in (200, 400)
    assert isinstance(answer, list) if response.status_code == 200 else {"detail", "code"} <= set(answer)


@pytest.mark.parametrize("value", HOSTILE_HEADER_VALUES, ids=range(len(HOSTILE_HEADER_VALUES)))
@pytest.mark.parametrize("header", ["X-API-KEY", "X-EXCHANGE-TOKEN"])
def test_a_hostile_header_is_answered_in_json(alice: ApiClient, header: str, value: str) -> None:
    response = alice.get(PATH, headers={header: value}, **{"key" if header == "X-API-KEY" else "token": None})

    assert response.status_code in (400, 401)
    assert {"detail", "code"} == set(orjson.loads(response.content))


@pytest.mark.parametrize("content_type", HOSTILE_CONTENT_TYPES)
def test_a_hostile_content_type_is_answered_in_json(alice: ApiClient, content_type: str) -> None:
    response = alice.post(PATH, BODY, headers={"Content-Type": content_type})

    assert response.status_code < 500
    assert isinstance(orjson.loads(response.content), dict)
