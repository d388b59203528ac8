"""Renders responses as compact JSON."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

import orjson
from django.utils.functional import Promise
from rest_framework.renderers import BaseRenderer

from commands_platform.lib.instants import format_instant


class RawJson:
    """JSON text that is already rendered. It can be the data of a response, or any value inside it."""

    __slots__ = ("text",)

    def __init__(self, text: bytes | str) -> None:
        self.text = text


NULL = RawJson(b"null")


class JSONRenderer(BaseRenderer):
    """JSON in UTF-8, with instants as `2026-02-25T12:00:00Z` and UUIDs as text. None means no body. `NULL` is null."""

    media_type = "application/json"
    format = "json"
    charset = None
    render_style = "binary"

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        return b"" if data is None else render(data)


def render(data: object) -> bytes:
    """Returns the JSON text of a response's data. Raises TypeError for values without a JSON form."""
    return orjson.dumps(data, default=_in_json, option=orjson.OPT_PASSTHROUGH_DATETIME)


def _in_json(value: object) -> object:
    match value:
        case RawJson():
            return orjson.Fragment(value.text)
        case datetime():
            return format_instant(value)
        case date():
            return value.isoformat()
        case Promise():
            return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form.")
