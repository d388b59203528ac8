"""A receiver that answers with any bytes, so that a test can send broken answers."""

from __future__ import annotations

import re
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

Script = Callable[[socket.socket], None]


class RawReceiver:
    """Use it as a context manager. It reads the first request of each connection, then passes the socket to `script`.

    The connection is closed when the script returns.
    """

    def __init__(self, script: Script, *, certificate: Path | None = None) -> None:
        self._script = script
        self._context: ssl.SSLContext | None = None
        if certificate is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(certificate)
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = int(self._listening.getsockname()[1])
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self.requests: list[bytes] = []
        self.is_over = threading.Event()

    def __enter__(self) -> RawReceiver:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.is_over.set()
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"{'https' if self._context else 'http'}://127.0.0.1:{self.port}/callback"

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                threading.Thread(target=self._handle, args=(connection,), daemon=True).start()

    def _handle(self, connection: socket.socket) -> None:
        with suppress(OSError):
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True)
            with connection:
                self.requests.append(_read_request(connection))
                self._script(connection)

    def wait_until_closed(self, connection: socket.socket) -> None:
        """Keeps the connection open until the other side closes it or the test is over. For use in a script."""
        connection.settimeout(0.05)
        while not self.is_over.is_set():
            with suppress(TimeoutError):
                if not connection.recv(1024):
                    return


def _read_request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += _read_some(connection)
    head, separator, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
    while length and len(body) < int(length[1]):
        body += _read_some(connection)
    return head + separator + body


def _read_some(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise ConnectionError("The request ended early.")
    return data
