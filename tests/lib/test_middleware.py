from __future__ import annotations

import functools
import json
from collections.abc import Iterable
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.core.signals import request_started
from django.db import close_old_connections
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from hypothesis import given
from hypothesis import strategies as st

from commands_platform.lib.http.gateway.refusals import REFUSAL, TOO_MANY
from commands_platform.lib.http.handlers import INVALID_REQUEST
from commands_platform.lib.http.middleware import RequestHygieneMiddleware, refuse_unreadable_requests
from tests.lib.hostile import (
    HOSTILE_BODIES,
    HOSTILE_CONTENT_TYPES,
    HOSTILE_HEADER_VALUES,
    HOSTILE_PATH_SEGMENTS,
    HOSTILE_QUERIES,
    MALFORMED_BODIES,
    OVERSIZED_BODIES,
)

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

pytestmark = pytest.mark.urls("tests.lib.kernel_urls")


@pytest.mark.parametrize("prefix", ["/v1/echo", "/admin", "/elsewhere"])
@pytest.mark.parametrize("segment", ["%00", "a%00b", "%ff", "caf%e9", "%ED%A0%80", "%C0%AF"])
def test_a_path_that_is_not_text_is_refused_everywhere(prefix: str, segment: str) -> None:
    response = Client().get(f"{prefix}/{segment}/")

    assert response.status_code == 400
    assert response.json() == {"detail": "The path is not valid: it must be UTF-8 without NUL.", "code": "bad_request"}


@pytest.mark.parametrize("path", ["/v1/echo/", "/admin/login/"])
@pytest.mark.parametrize("query", ["a=%00", "%00=1", "a=%ff", "%ff", "a=\xff", "next=%ED%A0%80", "a=1&b=%c3"])
def test_a_query_that_is_not_text_is_refused_everywhere(path: str, query: str) -> None:
    response = Client().get(path, QUERY_STRING=query)

    assert response.status_code == 400
    assert response.json() == {
        "detail": "The query string is not valid: it must be UTF-8 without NUL.",
        "code": "bad_request",
    }


@pytest.mark.parametrize("path", ["/v1/echo/", "/admin/login/"])
@pytest.mark.parametrize("header", ["HTTP_X_API_KEY", "HTTP_COOKIE", "HTTP_HOST", "CONTENT_TYPE"])
@pytest.mark.parametrize("value", ["\0", "a\0b", "\xff", "caf\xe9", "\xed\xa0\x80"])
def test_a_header_that_is_not_text_is_refused_everywhere(path: str, header: str, value: str) -> None:
    response = Client().get(path, **{header: value})  # type: ignore[arg-type]

    assert response.status_code == 400
    assert response.json() == {"detail": "A header is not valid: it must be UTF-8 without NUL.", "code": "bad_request"}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("name=caf%C3%A9", "café"),
        ("name=caf\xc3\xa9", "café"),
        ("name=%F0%9F%98%80+x", "😀 x"),
        ("name=%", "%"),
        ("name=%zz", "%zz"),
        ("name=%2500", "%00"),
    ],
)
def test_text_in_a_query_is_decoded(query: str, found: str) -> None:
    assert Client().get("/v1/echo/", QUERY_STRING=query).json()["query"] == {"name": found}


def test_text_in_a_header_is_accepted() -> None:
    assert Client().get("/v1/echo/", headers={"x-name": "caf\xc3\xa9"}).status_code == 200


@pytest.mark.parametrize("query", HOSTILE_QUERIES)
def test_no_query_breaks_an_endpoint(query: str) -> None:
    response = Client().get("/v1/echo/", QUERY_STRING=query)

    assert response.status_code in (200, 400)
    assert response["Content-Type"] == "application/json"


@pytest.mark.parametrize("segment", HOSTILE_PATH_SEGMENTS)
def test_no_path_breaks_the_server(segment: str) -> None:
    assert Client().get(f"/v1/{segment}/").status_code in (400, 404)


@pytest.mark.parametrize("value", HOSTILE_HEADER_VALUES)
@pytest.mark.parametrize(
    "header", ["x-api-key", "accept", "accept-language", "cookie", "host", "x-request-id", "range"]
)
def test_no_header_breaks_an_endpoint(header: str, value: str) -> None:
    response = Client().get("/v1/echo/", headers={header: value})

    assert response.status_code in (200, 400)
    assert response["Content-Type"] == "application/json"


@pytest.mark.parametrize("name", HOSTILE_BODIES)
def test_no_body_breaks_an_endpoint(name: str) -> None:
    response = Client().post("/v1/echo/", HOSTILE_BODIES[name], content_type="application/json")

    assert response["Content-Type"] == "application/json"
    expected = {
        **dict.fromkeys(MALFORMED_BODIES, (400, "parse_error")),
        **dict.fromkeys(OVERSIZED_BODIES, (413, "payload_too_large")),
    }
    if name in expected:
        assert (response.status_code, response.json()["code"]) == expected[name]
    else:
        assert response.status_code == 200


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
def test_an_empty_form_is_an_empty_object(content_type: str) -> None:
    response = Client().generic("POST", "/v1/echo/", b"", content_type=content_type)

    assert response.json() == {}


class Unread(BytesIO):
    def read(self, _size: int | None = -1, /) -> bytes:
        raise AssertionError("The body was read.")


def environ_of(body: BytesIO, **more: object) -> dict[str, Any]:
    environ = RequestFactory().generic("POST", "/v1/echo/", content_type="application/json").environ
    return {**environ, "wsgi.input": body, **more}


def answer_to(environ: dict[str, Any]) -> HttpResponse:
    """Sends a request through the middleware to a view that returns the body it has read."""

    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse(request.read(), headers={"X-Length": request.META.get("CONTENT_LENGTH", "")})

    response = RequestHygieneMiddleware(view)(WSGIRequest(environ))
    assert isinstance(response, HttpResponse)
    return response


def test_an_api_body_with_too_large_a_length_is_refused_unread() -> None:
    response = answer_to(environ_of(Unread(), CONTENT_LENGTH=str(1024 * 1024 + 1)))

    assert response.status_code == 413
    assert response.content == (
        b'{"detail":"The request body may have 1048576 bytes at most. Send less at a time.","code":"payload_too_large"}'
    )


def test_a_body_of_exactly_the_limit_is_accepted() -> None:
    body = b" " * 1024 * 1024

    assert answer_to(environ_of(BytesIO(body), CONTENT_LENGTH=str(len(body)))).content == body


def test_outside_the_api_django_limits_the_size() -> None:
    environ = environ_of(BytesIO(b"x" * 2_000_000), CONTENT_LENGTH="2000000", PATH_INFO="/admin/")

    assert answer_to(environ).status_code == 200


@pytest.mark.parametrize("length", ["-1", "1e3", "abc", "1_000", "\xb2", "9" * 30, " 5"])
def test_a_length_that_is_not_a_number_is_refused(length: str) -> None:
    assert answer_to(environ_of(Unread(), CONTENT_LENGTH=length)).status_code == 400


def test_a_request_without_any_length_has_no_body() -> None:
    assert answer_to(environ_of(Unread())).content == b""


def test_a_request_refused_by_the_gateway_is_answered_without_reading_its_body() -> None:
    response = answer_to(environ_of(Unread(), CONTENT_LENGTH="5", **{REFUSAL: TOO_MANY}))

    assert (response.status_code, response["Retry-After"]) == (429, "1")
    assert b"throttled" in response.content


def test_headers_that_imitate_content_type_and_length_are_dropped() -> None:
    response = Client().generic(
        "POST", "/v1/echo/", HTTP_CONTENT_TYPE="application/x-www-form-urlencoded; a*=x'y'z", HTTP_CONTENT_LENGTH="5"
    )

    assert response.json() == {}


@functools.cache
def _whole_stack() -> WSGIApplication:
    return refuse_unreadable_requests(WSGIHandler())


def ask(environ: dict[str, Any]) -> tuple[str, str, bytes]:
    """Returns status, content type and body of the answer that the whole stack gives a WSGI server."""
    started: list[tuple[str, dict[str, str]]] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> Any:
        started.append((status, dict(headers)))

    # Like Django's own test client, keeps the request from closing the connection of the test.
    request_started.disconnect(close_old_connections)
    try:
        response = _whole_stack()(environ, start_response)
    finally:
        request_started.connect(close_old_connections)
    body = b"".join(response)
    ((status, headers),) = started
    return status, headers["Content-Type"], body


@pytest.mark.parametrize("query", ["", "a=1", "a=%C3%A9"])
@pytest.mark.parametrize("body", [b"", b"{}", b"a=1"])
@pytest.mark.parametrize("content_type", HOSTILE_CONTENT_TYPES)
def test_no_content_type_breaks_an_endpoint(content_type: str, body: bytes, query: str) -> None:
    environ = environ_of(BytesIO(body), CONTENT_LENGTH=str(len(body)), CONTENT_TYPE=content_type, QUERY_STRING=query)

    status, answered_in, _ = ask(environ)

    assert status[:3] in ("200", "400", "415")
    assert answered_in == "application/json"


@pytest.mark.parametrize(
    ("content_type", "query"),
    [
        ("a/b; charset*=x'y'z", ""),
        ("a/b; c*=\xff'y'z", ""),
        ("a/b; charset=\0", ""),
        ("a/b; charset=hex", "a=1"),
        ("a/b; charset=undefined", "a=1"),
        ("application/json; charset=utf-8", "&".join(["a=1"] * 2000)),
        ("a/b" + ";" * 100_000, ""),
    ],
)
def test_a_request_that_breaks_django_is_refused_in_json(content_type: str, query: str) -> None:
    assert ask(environ_of(BytesIO(), CONTENT_TYPE=content_type, QUERY_STRING=query)) == (
        "400 Bad Request",
        "application/json",
        b'{"detail":"%s","code":"bad_request"}' % INVALID_REQUEST.encode(),
    )


@pytest.mark.parametrize("charset", ["utf-8", "utf-16", "latin-1", "cp037"])
def test_a_query_is_read_as_utf_8_whatever_the_content_type_says(charset: str) -> None:
    environ = environ_of(
        BytesIO(), REQUEST_METHOD="GET", CONTENT_TYPE=f"a/b; charset={charset}", QUERY_STRING="a=%C3%A9"
    )

    status, _, body = ask(environ)

    assert status == "200 OK"
    assert json.loads(body)["query"] == {"a": "é"}


@given(st.text(st.characters(max_codepoint=255)) | st.from_regex(r"[a-z]/[a-z];( ?[a-z*0-9]+\*?=[a-z0-9'\"%*;=-]+;?)+"))
def test_no_content_type_raises(content_type: str) -> None:
    status, answered_in, _ = ask(environ_of(BytesIO(), CONTENT_TYPE=content_type, QUERY_STRING="a=1"))

    assert status[:3] in ("200", "400")
    assert answered_in == "application/json"


def test_a_bug_in_the_application_is_not_taken_for_a_bad_request() -> None:
    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        raise RuntimeError("bug")

    with pytest.raises(RuntimeError):
        refuse_unreadable_requests(application)(environ_of(BytesIO()), lambda *_: lambda _: None)
