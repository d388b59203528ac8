"""A real HTTP server on loopback that records its requests and answers as the test says."""

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

# A key and its self-signed certificate for 127.0.0.1 and receiver.test. A test must name this file to trust it.
CERTIFICATE = Path(__file__).parent / "data" / "loopback.pem"


@dataclass(frozen=True)
class Received:
    """One request as it arrived. Header names are in lower case."""

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
    # Closes the connection without an answer.
    hang_up: bool = False


def server_side(listening: socket.socket) -> socket.socket:
    """Returns the listening socket wrapped in TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context.wrap_socket(listening, server_side=True)


class Receiver:
    """Use it as a context manager. It answers 204, unless `answer_with` or `always_answer` says otherwise."""

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
                """Ignores senders that disconnect in the middle of a request, which tests do on purpose."""

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
        """Returns the first `count` requests that match once they are there. Raises AssertionError after `timeout`."""

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
