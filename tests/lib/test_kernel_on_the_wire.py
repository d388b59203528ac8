"""The kernel behind a real web server, which gets raw bytes."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.lib.kernel_server import CHUNKED_POST, chunk, exchange, head, kernel_server

MEBIBYTE = 1024 * 1024


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with kernel_server() as number:
        yield number


def test_a_body_with_a_length_is_read(port: int) -> None:
    request = head("POST /v1/echo/", Content_Type="application/json", Content_Length="7")

    assert exchange(port, request, b'{"a"', b":1}") == (200, {"a": 1})


def test_a_body_in_chunks_is_read(port: int) -> None:
    parts = [chunk(b'{"a": "'), chunk(b"x" * 70_000), chunk(b'"}'), chunk(b"")]

    assert exchange(port, CHUNKED_POST, *parts) == (200, {"a": "x" * 70_000})


def test_an_empty_body_in_chunks_is_an_empty_object(port: int) -> None:
    assert exchange(port, CHUNKED_POST, chunk(b"")) == (200, {})


def test_malformed_json_in_chunks_is_a_parse_error(port: int) -> None:
    status, body = exchange(port, CHUNKED_POST, chunk(b'{"a": 1'), chunk(b""))

    assert (status, body["code"]) == (400, "parse_error")


def test_a_body_in_chunks_over_the_limit_is_refused(port: int) -> None:
    parts = [chunk(b" " * 65_536)] * 17

    status, body = exchange(port, CHUNKED_POST, *parts)

    assert (status, body["code"]) == (413, "payload_too_large")


def test_a_body_with_too_large_a_length_is_refused_before_it_arrives(port: int) -> None:
    request = head("POST /v1/echo/", Content_Type="application/json", Content_Length=str(MEBIBYTE + 1))

    status, body = exchange(port, request)

    assert (status, body["code"]) == (413, "payload_too_large")


def test_a_connection_accepts_another_request_after_one_in_chunks(port: int) -> None:
    request = CHUNKED_POST + chunk(b"[1]") + chunk(b"")

    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(request + request)
        received = b""
        while received.count(b"[1]") < 2:
            received += connection.recv(65_536) or pytest.fail(f"Closed after {received!r}")

    assert received.count(b"200 OK") == 2


def test_a_client_that_expects_100_continue_gets_it(port: int) -> None:
    request = head("POST /v1/echo/", Content_Type="application/json", Content_Length="2", Expect="100-continue")

    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(request)
        assert connection.recv(100).startswith(b"HTTP/1.1 100 Continue")


@pytest.mark.parametrize(
    ("first_line", "status"),
    [
        ("GET /v1/echo/?a=%00", 400),
        ("GET /v1/echo/?a=%ff", 400),
        ("GET /v1/%00/", 400),
        ("GET /v1/%ff/", 400),
        ("GET /v1/caf%C3%A9/", 404),
        ("GET /v1/echo/%2e%2e/", 404),
        ("GET /v1/echo/?a=%C3%A9", 200),
        ("GET /v1/echo", 200),
        ("BREW /v1/echo/", 405),
        ("GET /v1/bug/", 500),
    ],
)
def test_every_answer_is_json(port: int, first_line: str, status: int) -> None:
    found, body = exchange(port, head(first_line))

    assert found == status
    assert status == 200 or body["code"]


@pytest.mark.parametrize("content_type", ["a/b; charset*=x'y'z", "a/b; charset=hex", "a/b" + ";" * 50_000])
def test_a_content_type_that_breaks_django_is_refused_in_json(port: int, content_type: str) -> None:
    status, body = exchange(port, head("GET /v1/echo/?a=1", Content_Type=content_type))

    assert (status, body["code"]) == (400, "bad_request")
