"""A real HTTP server on loopback that keeps what it is sent, and answers as it is told to."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

# A key, and its certificate for 127.0.0.1 and receiver.test, signed by itself: trusted by whoever names this file.
CERTIFICATE = Path(__file__).parent / "data" / "loopback.pem"


@dataclass(frozen=True)
class Received:
    """One request as it came in; header names are in lower case."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def webhook_id(self) -> str:
        return self.headers["webhook-id"]


@dataclass(frozen=True)
class Answer:
    status: int = 204
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    delay: float = 0.0
    # Closes the connection without a word.
    hang_up: bool = False


def server_side(listening: socket.socket) -> socket.socket:
    """The same socket, whose connections speak TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context.wrap_socket(listening, server_side=True)


class Receiver:
    """Use it as a context manager. `answer_with` takes answers for the next requests; after them comes 204."""

    def __init__(self, *, with_tls: bool = False) -> None:
        self._arrived = threading.Condition()
        self._requests: list[Received] = []
        self._answers: list[Answer] = []
        self._always: Callable[[Received], Answer] | None = None
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                receiver._handle(self)

            do_GET = do_POST  # noqa: N815 (the base class looks for this name)

            def log_message(self, *_: Any) -> None:
                """Says nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 512

            def handle_error(self, *_: Any) -> None:
                """A sender that goes away in the middle is part of the tests."""

        self._scheme = "https" if with_tls else "http"
        self._server = Server(("127.0.0.1", 0), Handler)
        if with_tls:
            self._server.socket = server_side(self._server.socket)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    def __enter__(self) -> Receiver:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self.port}/callback"

    @property
    def requests(self) -> list[Received]:
        with self._arrived:
            return list(self._requests)

    def answer_with(self, *answers: Answer) -> None:
        with self._arrived:
            self._answers.extend(answers)

    def always_answer(self, answer: Callable[[Received], Answer]) -> None:
        with self._arrived:
            self._always = answer

    def wait_for(
        self, count: int, *, timeout: float = 20.0, matching: Callable[[Received], bool] = lambda _: True
    ) -> list[Received]:
        """The first `count` requests that match, as soon as they are there; AssertionError when they do not come."""

        def found() -> list[Received]:
            return [request for request in self._requests if matching(request)]

        with self._arrived:
            if not self._arrived.wait_for(lambda: len(found()) >= count, timeout):
                raise AssertionError(f"{len(found())} of {count} requests came within {timeout} s")
            return found()[:count]

    def _handle(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in handler.headers.items()}
        request = Received(handler.path, headers, body, time.time())
        with self._arrived:
            self._requests.append(request)
            always = self._always or (lambda _: Answer())
            answer = self._answers.pop(0) if self._answers else always(request)
            self._arrived.notify_all()
        if answer.delay:
            time.sleep(answer.delay)
        if answer.hang_up:
            handler.close_connection = True
            return
        handler.send_response(answer.status)
        for name, value in answer.headers:
            handler.send_header(name, value)
        if answer.status != 204:
            handler.send_header("Content-Length", str(len(answer.body)))
        handler.end_headers()
        handler.wfile.write(answer.body)
