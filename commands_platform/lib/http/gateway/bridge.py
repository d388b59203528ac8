"""Runs a WSGI application for one request of the RSGI server, in a thread."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from commands_platform.lib.http.gateway.rsgi import HTTPProtocol, Scope

# Longer responses than this are sent piece by piece.
MAX_WHOLE_BYTES = 4 * 1024 * 1024
# A client that takes longer than this for one piece of a streamed response is given up.
SEND_SECONDS = 30.0

_BASE: dict[str, Any] = {
    "SCRIPT_NAME": "",
    "wsgi.errors": sys.stderr,
    "wsgi.input_terminated": True,
    "wsgi.multiprocess": True,
    "wsgi.multithread": True,
    "wsgi.run_once": False,
    "wsgi.version": (1, 0),
}


def environ_of(scope: Scope) -> WSGIEnvironment:
    """Returns the WSGI environment of a request (PEP 3333), without its body.

    Leaves out headers whose names contain an underscore. WSGI could not tell `X_API_KEY` from `X-API-KEY`, so a proxy
    that checks or removes the one would let the other through.
    """
    name, _, port = scope.server.rpartition(":")
    client, _, client_port = scope.client.rpartition(":")
    environ: WSGIEnvironment = {
        **_BASE,
        "REQUEST_METHOD": scope.method,
        # PEP 3333: each character stands for one byte.
        "PATH_INFO": scope.path if scope.path.isascii() else scope.path.encode().decode("latin-1"),
        "QUERY_STRING": scope.query_string
        if scope.query_string.isascii()
        else scope.query_string.encode().decode("latin-1"),
        "SERVER_NAME": name.strip("[]"),
        "SERVER_PORT": port,
        "SERVER_PROTOCOL": f"HTTP/{scope.http_version}",
        "REMOTE_ADDR": client.strip("[]"),
        "REMOTE_PORT": client_port,
        "wsgi.url_scheme": scope.scheme,
    }
    for header, value in scope.headers.items():
        if "_" in header:
            continue
        key = header.upper().replace("-", "_")
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = f"HTTP_{key}"
        if key in environ:
            environ[key] += f"{'; ' if key == 'HTTP_COOKIE' else ','}{value}"
        else:
            environ[key] = value
    if scope.authority:
        environ["HTTP_HOST"] = scope.authority
    return environ


@dataclass(slots=True)
class Answer:
    """A response that the application has begun: its body as a whole, or `pieces` of it where that may be long."""

    status: int = 500
    headers: list[tuple[str, str]] | None = None
    body: bytes = b""
    pieces: Iterator[bytes] | None = None

    def start(self, status: str, headers: list[tuple[str, str]], _exc_info: object = None) -> None:
        self.status, self.headers = int(status[:3]), headers

    def is_long(self) -> bool:
        lengths = [value for name, value in self.headers or () if name.lower() == "content-length"]
        return not lengths or int(lengths[0]) > MAX_WHOLE_BYTES


class Bridge:
    """Hands requests to a WSGI application and its answers back to the server."""

    def __init__(self, application: WSGIApplication) -> None:
        self._application = application

    def run(
        self,
        environ: WSGIEnvironment,
        body: bytes | None,
        protocol: HTTPProtocol,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        """Answers one request, in the calling thread, which a streamed response keeps until it is sent.

        A `body` of None was not read. Whoever asks for it all the same gets an OSError, and no empty body.
        """
        environ["wsgi.input"] = _Unread() if body is None else BytesIO(body)
        answer = Answer()
        start: StartResponse = answer.start  # type: ignore[assignment]  # nothing here uses the legacy `write`
        result = self._application(environ, start)
        try:
            if getattr(result, "streaming", False) and answer.is_long():
                self._stream(result, answer, protocol, loop)
            else:
                protocol.response_bytes(answer.status, answer.headers or [], b"".join(result))
        finally:
            # Django ends its request here, and with it gives the database connection back.
            close = getattr(result, "close", None)
            if close is not None:
                close()

    def _stream(
        self, pieces: Iterable[bytes], answer: Answer, protocol: HTTPProtocol, loop: asyncio.AbstractEventLoop
    ) -> None:
        transport = protocol.response_stream(answer.status, answer.headers or [])
        for piece in pieces:
            asyncio.run_coroutine_threadsafe(_send(transport, piece), loop).result(SEND_SECONDS)


class _Unread(BytesIO):
    """The body of a request that is refused without a look at it."""

    def read(self, _size: int | None = -1, /) -> bytes:
        raise OSError("The request body was not read.")

    readline = read


async def _send(transport: Any, piece: bytes) -> None:
    await transport.send_bytes(piece)
