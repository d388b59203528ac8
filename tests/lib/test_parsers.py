from __future__ import annotations

from io import BytesIO
from typing import Any

import pytest
from django.conf import LazySettings
from django.test import RequestFactory
from rest_framework.exceptions import ParseError, UnsupportedMediaType
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer, TemplateHTMLRenderer
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from commands_platform.lib.http.negotiation import JSONOnlyNegotiation
from commands_platform.lib.http.parsers import StrictJSONParser
from commands_platform.lib.http.renderers import JSONRenderer
from commands_platform.lib.json.strict_json import MalformedJsonError, PayloadTooLargeError


class CountingStream(BytesIO):
    bytes_read = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.bytes_read += len(data)
        return data


class BrokenStream(BytesIO):
    def read(self, _size: int | None = -1, /) -> bytes:
        raise ConnectionResetError


def request_with(body: bytes, content_type: str | None = "application/json", *, encoding: str = "") -> Request:
    http_request = RequestFactory().generic("POST", "/", body, content_type=content_type or "")
    if content_type is None:
        http_request.META.pop("CONTENT_TYPE", None)
    if encoding:
        http_request.META["HTTP_CONTENT_ENCODING"] = encoding
    return Request(http_request, parsers=[StrictJSONParser()], negotiator=JSONOnlyNegotiation())


def parse(stream: BytesIO, media_type: str = "application/json", **meta: str) -> Any:
    request = APIRequestFactory().get("/")
    request.META.update(meta)
    return StrictJSONParser().parse(stream, media_type, {"request": request})


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "APPLICATION/JSON",
        "application/json; charset=utf-8",
        'application/json;charset="UTF-8"',
        "application/json; charset=utf8; version=1",
        "application/merge-patch+json",
        None,
        "",
    ],
)
def test_json_is_read_under_each_of_its_media_types(content_type: str | None) -> None:
    assert request_with(b'{"a": 1}', content_type).data == {"a": 1}


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json; charset=utf-16",
        "application/json; charset=latin-1",
        "application/json; charset=",
        "text/plain",
        "text/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "*/*",
        "application/*",
        "application/xml",
        "json",
    ],
)
def test_other_media_types_are_unsupported(content_type: str) -> None:
    with pytest.raises(UnsupportedMediaType):
        _ = request_with(b"{}", content_type).data


def test_the_error_names_the_refused_type_and_says_what_to_send() -> None:
    with pytest.raises(UnsupportedMediaType, match=r'"text/plain"\. Send JSON in UTF-8, as application/json'):
        _ = request_with(b"{}", "text/plain").data


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "GZIP", "gzip, identity"])
def test_the_error_about_a_compressed_body_says_what_to_send(encoding: str) -> None:
    with pytest.raises(UnsupportedMediaType, match="Send it uncompressed, without that header") as caught:
        _ = request_with(b"{}", "application/json", encoding=encoding).data
    assert f'"{encoding}"' in str(caught.value)


def test_a_body_with_identity_encoding_is_read() -> None:
    assert request_with(b"{}", "application/json", encoding="identity").data == {}


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", None])
def test_an_empty_body_is_an_empty_object_whatever_its_type(content_type: str | None) -> None:
    assert request_with(b"", content_type).data == {}


def test_an_empty_stream_is_an_empty_object() -> None:
    assert parse(BytesIO(b"")) == {}


def test_a_body_of_spaces_is_malformed() -> None:
    with pytest.raises(MalformedJsonError):
        parse(BytesIO(b"  "))


def test_at_most_one_byte_beyond_the_limit_is_read(settings: LazySettings) -> None:
    settings.MAX_BODY_BYTES = 10
    stream = CountingStream(b" " * 1000)

    with pytest.raises(PayloadTooLargeError):
        parse(stream)

    assert stream.bytes_read == 11


def test_a_body_with_too_large_a_length_is_not_read_at_all(settings: LazySettings) -> None:
    settings.MAX_BODY_BYTES = 10
    stream = CountingStream(b"{}")

    with pytest.raises(PayloadTooLargeError):
        parse(stream, CONTENT_LENGTH="11")

    assert stream.bytes_read == 0


def test_the_depth_limit_is_a_setting(settings: LazySettings) -> None:
    settings.MAX_JSON_DEPTH = 2

    assert parse(BytesIO(b"[[]]")) == [[]]
    with pytest.raises(MalformedJsonError):
        parse(BytesIO(b"[[[]]]"))


def test_a_connection_that_breaks_midway_is_a_parse_error() -> None:
    with pytest.raises(ParseError, match="ended too early"):
        parse(BrokenStream())


@pytest.mark.parametrize(
    "accept", ["application/json", "text/html", "application/xml;q=1", "*/*", "", "nonsense", "a/b;q=x"]
)
def test_the_response_is_json_whatever_the_client_accepts(accept: str) -> None:
    request = Request(APIRequestFactory().get("/?format=xml", headers={"accept": accept}))
    renderers: list[BaseRenderer] = [JSONRenderer(), TemplateHTMLRenderer()]

    chosen = JSONOnlyNegotiation().select_renderer(request, renderers, "xml")

    assert chosen == (renderers[0], "application/json")


def test_a_view_that_parses_nothing_gets_no_parser() -> None:
    none: list[BaseParser] = []

    assert JSONOnlyNegotiation().select_parser(request_with(b"{}"), none) is None
