"""A real forward proxy on loopback. It only opens tunnels (CONNECT), and records the requests for them."""

from __future__ import annotations

import select
import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from tests.receiver import server_side


@dataclass(frozen=True)
class TunnelRequest:
    """One request as it arrived. Header names are in lower case."""

    method: str
    target: str
    headers: dict[str, str]


class Proxy:
    """Use it as a context manager. It connects to loopback only. `names` maps the names that it knows to ports."""

    def __init__(self, *, with_tls: bool = False) -> None:
        self.names: dict[str, int] = {}
        self._answers: list[bytes | None] = []
        self._lock = threading.Lock()
        self._requests: list[TunnelRequest] = []
        self._open: set[socket.socket] = set()
        self._scheme = "https" if with_tls else "http"
        proxy = self

        class Handler(socketserver.StreamRequestHandler):
            # Bytes after the head belong to the tunnel, so they must not be read ahead.
            rbufsize = 0

            def handle(self) -> None:
                with suppress(OSError):
                    proxy._handle(self)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            allow_reuse_address = True
            request_queue_size = 128

        self._server = Server(("127.0.0.1", 0), Handler)
        if with_tls:
            self._server.socket = server_side(self._server.socket)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    def __enter__(self) -> Proxy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self.drop_tunnels()
        self._server.server_close()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    @property
    def url(self) -> str:
        return f"{self._scheme}://{self.address}"

    @property
    def requests(self) -> list[TunnelRequest]:
        with self._lock:
            return list(self._requests)

    def answer_with(self, *answers: bytes | None) -> None:
        """Answers the next requests with these bytes instead of a tunnel, or with nothing at all for None."""
        with self._lock:
            self._answers.extend(answers)

    def drop_tunnels(self) -> None:
        """Closes all connections of the proxy."""
        with self._lock:
            for each in self._open:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def _handle(self, handler: socketserver.StreamRequestHandler) -> None:
        client = handler.connection
        with self._kept(client):
            method, target, _ = handler.rfile.readline().decode("latin-1").split(" ", 2)
            headers = {}
            while line := handler.rfile.readline().decode("latin-1").strip():
                name, _, value = line.partition(":")
                headers[name.lower()] = value.strip()
            with self._lock:
                self._requests.append(TunnelRequest(method, target, headers))
                has_answer = bool(self._answers)
                answer = self._answers.pop(0) if has_answer else None
            if answer is not None:
                client.sendall(answer)
            elif has_answer:
                client.recv(1)
            else:
                self._tunnel(client, method, target)

    def _tunnel(self, client: socket.socket, method: str, target: str) -> None:
        host, _, port = target.rpartition(":")
        if method != "CONNECT":
            client.sendall(b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n")
            return
        try:
            receiver = socket.create_connection(("127.0.0.1", self.names.get(host, int(port))))
        except OSError:
            client.sendall(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
            return
        with self._kept(receiver), receiver:
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            _relay(client, receiver)

    @contextmanager
    def _kept(self, connection: socket.socket) -> Iterator[None]:
        with self._lock:
            self._open.add(connection)
        try:
            yield
        finally:
            with self._lock:
                self._open.discard(connection)


def _relay(client: socket.socket, receiver: socket.socket) -> None:
    """Forwards bytes in both directions until one side closes."""
    other = {client: receiver, receiver: client}
    while True:
        # Data that TLS has already decrypted does not make the socket readable.
        has_more = isinstance(client, ssl.SSLSocket) and client.pending()
        ready = [client] if has_more else select.select([client, receiver], [], [])[0]
        for source in ready:
            data = source.recv(65536)
            if not data:
                return
            other[source].sendall(data)
