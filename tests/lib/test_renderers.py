from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
from django.db import models
from django.utils.translation import gettext_lazy
from rest_framework.exceptions import ErrorDetail
from rest_framework.response import Response

from commands_platform.lib.http.renderers import NULL, JSONRenderer, RawJson
from commands_platform.lib.json.strict_json import loads
from tests.lib.hostile import MEBIBYTE, ODD_BODIES


class Colour(models.TextChoices):
    RED = "red"


def render(data: Any) -> bytes:
    return JSONRenderer().render(data)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({"b": 1, "a": [True, None, 2.5]}, '{"b":1,"a":[true,null,2.5]}'),
        ("é😀\u2028", '"é😀\u2028"'),
        (datetime(2026, 2, 25, 12, tzinfo=UTC), '"2026-02-25T12:00:00Z"'),
        (
            datetime(2026, 2, 25, 12, 0, 0, 250_000, tzinfo=timezone(timedelta(hours=2))),
            '"2026-02-25T10:00:00.250000Z"',
        ),
        (date(2026, 2, 25), '"2026-02-25"'),
        (UUID("00000000-0000-4000-8000-00000000000A"), '"00000000-0000-4000-8000-00000000000a"'),
        ([ErrorDetail("no", code="bad"), Colour.RED, gettext_lazy("later")], '["no","red","later"]'),
        (2**64 - 1, "18446744073709551615"),
        (-(2**63), "-9223372036854775808"),
        (RawJson(b'{"z": 1}'), '{"z": 1}'),
        ({"found": RawJson("[1, 2]"), "list": [RawJson(b"null")]}, '{"found":[1, 2],"list":[null]}'),
        (NULL, "null"),
        (False, "false"),
        ("", '""'),
        ({}, "{}"),
    ],
)
def test_data_is_rendered_as_compact_json(data: Any, text: str) -> None:
    assert render(data) == text.encode()


def test_none_is_rendered_as_an_empty_body() -> None:
    assert render(None) == b""


@pytest.mark.parametrize("data", [object(), {1, 2}, datetime(2026, 2, 25), 2**64])  # noqa: DTZ001
def test_data_without_a_json_form_is_an_error(data: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        render({"a": data})


@pytest.mark.parametrize("name", ODD_BODIES)
def test_everything_the_parser_accepts_can_be_rendered(name: str) -> None:
    value = loads(ODD_BODIES[name], max_bytes=MEBIBYTE)

    assert render({"results": [value]})


def test_only_a_response_with_a_body_has_a_content_type() -> None:
    def rendered(data: Any, status: int) -> Response:
        response = Response(data, status=status)
        response.accepted_renderer = JSONRenderer()
        response.accepted_media_type = "application/json"
        vars(response)["renderer_context"] = {}
        response.render()
        return response

    assert rendered({}, 200)["Content-Type"] == "application/json"
    assert "Content-Type" not in rendered(None, 204)
