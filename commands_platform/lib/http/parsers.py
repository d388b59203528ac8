"""Parses request bodies as strict JSON, and reads no more than the limit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, Any

from django.conf import settings
from django.utils.http import parse_header_parameters
from rest_framework.exceptions import ParseError, UnsupportedMediaType
from rest_framework.parsers import BaseParser

from commands_platform.lib.json import strict_json
from commands_platform.lib.json.strict_json import JsonValue, PayloadTooLargeError


class StrictJSONParser(BaseParser):
    """Reads `application/json` and `application/*+json` (RFC 6839) in UTF-8. An empty body is `{}`.

    Raises MalformedJsonError, PayloadTooLargeError, UnsupportedMediaType for another charset or a compressed body, and
    ParseError for a body that cannot be read to its end.
    """

    media_type = "application/json"
    # An endpoint may enclose values in other objects, which count as levels too.
    more_levels = 0

    def parse(  # type: ignore[override]  # the stubs allow only mappings, but any JSON value may be at the top
        self,
        stream: IO[bytes],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> JsonValue:
        _refuse_other_charsets(media_type or "")
        _refuse_compressed(parser_context or {})
        limit: int = settings.MAX_BODY_BYTES
        if _announced_length(parser_context or {}) > limit:
            raise PayloadTooLargeError(limit)
        try:
            raw = stream.read(limit + 1)
        except OSError as error:
            raise ParseError("The request body ended too early. Send it again.") from error
        return self.read(raw, limit) if raw else {}

    def read(self, raw: bytes, limit: int) -> JsonValue:
        """Returns the value of a body that is not empty."""
        return strict_json.loads(raw, max_bytes=limit, max_depth=settings.MAX_JSON_DEPTH + self.more_levels)


class TextParser(StrictJSONParser):
    """Reads text in UTF-8, with the limits of a JSON body. A subclass names the media type."""

    def read(self, raw: bytes, limit: int) -> JsonValue:
        if len(raw) > limit:
            raise PayloadTooLargeError(limit)
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            raise ParseError("The body is not text in UTF-8.") from error


def is_json_media_type(content_type: str) -> bool:
    """Returns whether a Content-Type header names JSON. A missing one counts as JSON."""
    name = parse_header_parameters(content_type)[0]
    return name in ("", StrictJSONParser.media_type) or (name.startswith("application/") and name.endswith("+json"))


def unsupported(content_type: str) -> UnsupportedMediaType:
    """Returns the error for a body that does not say that it is JSON in UTF-8."""
    detail = f'The body has the Content-Type "{content_type[:100]}". Send JSON in UTF-8, as application/json.'
    return UnsupportedMediaType(content_type, detail=detail)


def _refuse_other_charsets(content_type: str) -> None:
    charset = parse_header_parameters(content_type)[1].get("charset", "utf-8")
    if charset.lower() not in ("utf-8", "utf8"):
        raise unsupported(content_type)


def _refuse_compressed(parser_context: Mapping[str, Any]) -> None:
    request = parser_context.get("request")
    encoding = request.META.get("HTTP_CONTENT_ENCODING", "") if request is not None else ""
    if encoding.strip().lower() not in ("", "identity"):
        detail = f'The body has the Content-Encoding "{encoding[:50]}". Send it uncompressed, without that header.'
        raise UnsupportedMediaType(encoding, detail=detail)


def _announced_length(parser_context: Mapping[str, Any]) -> int:
    request = parser_context.get("request")
    announced = request.META.get("CONTENT_LENGTH") if request is not None else None
    try:
        return int(announced or 0)
    except ValueError:
        return 0
