"""The gateway copes with slow, large and unfinished bodies, and with clients that send too many requests."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.lib.kernel_server import CHUNKED_POST, chunk, exchange, head, kernel_server


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with kernel_server() as number:
        yield number


def begun(port: int, stack: ExitStack, request: bytes) -> socket.socket:
    """Returns a connection on which these bytes were sent."""
    connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), 15))
    connection.sendall(request)
    return connection


def announcing(length: int, **headers: str) -> bytes:
    return head("POST /v1/echo/", Content_Type="application/json", Content_Length=str(length), **headers)


def test_slow_bodies_do_not_delay_others(port: int) -> None:
    with ExitStack() as stack:
        for number in range(100):
            begun(port, stack, announcing(100, X_Address=f"slow-{number % 10}") + b"{")

        # The server has two threads. If they waited for bodies, this would be answered only after those timed out.
        assert exchange(port, announcing(2), b"{}") == (200, {})


@pytest.mark.parametrize("request_head", [announcing(1_000), CHUNKED_POST], ids=["announced", "in chunks"])
def test_a_body_that_stops_is_answered_with_408(port: int, request_head: bytes) -> None:
    body = b"{" if request_head != CHUNKED_POST else chunk(b"{")

    status, answer = exchange(port, request_head, body)

    assert (status, answer["code"]) == (408, "request_timeout")


def test_a_body_that_trickles_in_times_out_long_before_its_deadline(port: int) -> None:
    with ExitStack() as stack:
        connection = begun(port, stack, announcing(100_000))
        connection.settimeout(0.05)
        received = b""
        pieces = 0
        while not received:
            connection.sendall(b" ")
            pieces += 1
            try:
                received = connection.recv(1000)
            except TimeoutError:
                continue

    assert received.startswith(b"HTTP/1.1 408")
    # One was sent every 0.05 s, so the deadline of 8 s would have let 160 of them pass.
    assert pieces < 100


def test_a_body_that_is_cut_short_reaches_no_view(port: int) -> None:
    with ExitStack() as stack:
        connection = begun(port, stack, announcing(100) + b"{}")
        connection.shutdown(socket.SHUT_WR)

        answer = b"".join(iter(lambda: connection.recv(1000), b""))
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b'"code":"bad_request"' in answer
    assert exchange(port, announcing(2), b"{}") == (200, {})


def test_the_body_of_a_caller_without_a_key_is_not_read(port: int) -> None:
    """The kernel's view needs no key. It gets a body that cannot be read, rather than an empty one."""
    status, answer = exchange(port, announcing(100, X_API_KEY="no key"))

    assert (status, answer["code"]) == (400, "parse_error")


def test_a_large_body_is_read_only_once_the_key_is_known(port: int) -> None:
    assert exchange(port, announcing(100_000, X_API_KEY="unknown"))[0] == 400
    assert exchange(port, CHUNKED_POST.replace(b"Host", b"X-API-KEY: unknown\r\nHost"))[0] == 400
    assert exchange(port, announcing(2, X_API_KEY="unknown"), b"{}") == (200, {})


def test_the_requests_of_one_address_are_limited(port: int) -> None:
    with ExitStack() as stack:
        # The server allows 20. It may take up the last of these before another one, and then refuses that one.
        unfinished = [begun(port, stack, announcing(100, X_Address="greedy") + b"{") for _ in range(21)]
        (refused, *_), _, _ = select.select(unfinished, [], [], 10)

        assert refused.recv(1000).startswith(b"HTTP/1.1 429")
        status, answer = exchange(port, announcing(2, X_Address="greedy"), b"{}")
        assert (status, answer["code"]) == (429, "throttled")
        assert exchange(port, announcing(2, X_Address="modest"), b"{}") == (200, {})


def test_headers_with_underscores_are_dropped(port: int) -> None:
    with ExitStack() as stack:
        connection = begun(
            port,
            stack,
            b"GET /v1/headers/ HTTP/1.1\r\nHost: localhost\r\nX_API_KEY: under\r\nConnection: close\r\n\r\n",
        )
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))

    assert answer.startswith(b"HTTP/1.1 200")
    assert b"under" not in answer


def test_repeated_headers_are_joined(port: int) -> None:
    request = (
        b"GET /v1/headers/ HTTP/1.1\r\nHost: localhost\r\nX-Two: 1\r\nX-Two: 2\r\nCookie: a=1\r\nCookie: b=2\r\n\r\n"
    )

    _, headers = exchange(port, request)

    assert (headers["HTTP_X_TWO"], headers["HTTP_COOKIE"]) == ("1,2", "a=1; b=2")


def test_a_streamed_response_arrives_complete(port: int) -> None:
    with ExitStack() as stack:
        connection = begun(port, stack, head("GET /v1/long-stream/", Connection="close"))
        answer = b"".join(iter(lambda: connection.recv(1_000_000), b""))

    assert answer.count(b"x" * 1000) >= 200 * 65


def test_a_large_response_arrives_complete(port: int) -> None:
    with ExitStack() as stack:
        connection = begun(port, stack, head("GET /v1/large/", Connection="close", X_Address="reader"))
        answer = b"".join(iter(lambda: connection.recv(1_000_000), b""))

    assert len(answer.partition(b"\r\n\r\n")[2]) == 30_000_000


def test_unread_responses_are_limited_and_dropped(port: int) -> None:
    with ExitStack() as stack:
        for number in range(2):
            begun(port, stack, head("GET /v1/large/", X_Address=f"idle-{number}"))

        answers = (exchange(port, announcing(2, X_Address="another"), b"{}") for _ in range(200))
        assert any(status == 503 and answer["code"] == "service_unavailable" for status, answer in answers)

        answers = (exchange(port, announcing(2, X_Address="another"), b"{}") for _ in range(2000))
        assert any(status == 200 for status, _ in answers)


def test_an_urgent_path_does_not_wait_for_a_thread(port: int) -> None:
    with ExitStack() as stack:
        slow = [begun(port, stack, head("GET /v1/slow/", X_Address="slow")) for _ in range(2)]
        connection = begun(port, stack, head("GET /v1/urgent/"))

        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
        # Until then they occupied both threads.
        assert all(each.recv(1000).endswith(b"\r\n\r\nlate") for each in slow)


@pytest.mark.parametrize(
    "lengths",
    [
        "Content-Length: 2\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 100",
        "Content-Length: 0\r\nTransfer-Encoding: chunked",
        "Content-Length: 2\r\nContent-Length: 2",
    ],
)
def test_two_statements_about_the_length_get_an_answer_in_json(port: int, lengths: str) -> None:
    request = f"POST /v1/echo/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{lengths}\r\n\r\n"

    status, answer = exchange(port, request.encode() + b"2\r\n{}\r\n0\r\n\r\n")

    assert status in (200, 400)
    assert status == 200 or answer["code"]


@pytest.mark.parametrize("chunks", [b"zz\r\n", b"2\r\n{}zz\r\n", b"-1\r\n{}\r\n"])
def test_malformed_chunks_get_an_answer_in_json(port: int, chunks: bytes) -> None:
    status, answer = exchange(port, CHUNKED_POST + chunks)

    assert (status, answer["code"]) == (400, "bad_request")


def test_a_client_that_leaves_in_the_middle_of_its_body_disturbs_nobody(port: int) -> None:
    with ExitStack() as stack:
        connection = begun(port, stack, CHUNKED_POST + b"5\r\n{")
        connection.close()

    assert exchange(port, CHUNKED_POST, chunk(b"[1]"), chunk(b"")) == (200, [1])
