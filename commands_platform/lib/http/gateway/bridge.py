"""Runs a WSGI application for one request of an ASGI server, in a thread."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from asgiref.typing import ASGISendCallable, HTTPScope

# Streamed responses up to this length are collected first. They are static files. Generated ones have no length.
MAX_WHOLE_BYTES = 4 * 1024 * 1024

_BASE: dict[str, Any] = {
    "SCRIPT_NAME": "",
    "wsgi.errors": sys.stderr,
    "wsgi.input_terminated": True,
    "wsgi.multiprocess": True,
    "wsgi.multithread": True,
    "wsgi.run_once": False,
    "wsgi.version": (1, 0),
}


def environ_of(scope: HTTPScope) -> WSGIEnvironment:
    """Returns the WSGI environment of a request (PEP 3333), without its body.

    Leaves out headers whose names contain an underscore. WSGI could not tell `X_API_KEY` from `X-API-KEY`, so a proxy
    that checks or removes one of them would let the other through.
    """
    server, client = scope["server"] or ("", None), scope["client"] or ("", 0)
    environ: WSGIEnvironment = {
        **_BASE,
        "REQUEST_METHOD": scope["method"],
        # PEP 3333: each character represents one byte.
        "PATH_INFO": unquote_to_bytes(scope["raw_path"]).decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": server[0],
        "SERVER_PORT": str(server[1] or ""),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "REMOTE_ADDR": client[0],
        "REMOTE_PORT": str(client[1]),
        "wsgi.url_scheme": scope["scheme"],
    }
    for name, value in scope["headers"]:
        if b"_" in name:
            continue
        key = name.decode("latin-1").upper().replace("-", "_")
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = f"HTTP_{key}"
        if key in environ:
            environ[key] += f"{'; ' if key == 'HTTP_COOKIE' else ','}{value.decode('latin-1')}"
        else:
            environ[key] = value.decode("latin-1")
    return environ


@dataclass(slots=True)
class Answer:
    """A response of the application. `is_sent` is true if it was already streamed."""

    status: int = 500
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    is_sent: bool = False

    def start(self, status: str, headers: list[tuple[str, str]], _exc_info: object = None) -> None:
        self.status, self.headers = int(status[:3]), headers

    def is_long(self) -> bool:
        lengths = [value for name, value in self.headers if name.lower() == "content-length"]
        return not lengths or int(lengths[0]) > MAX_WHOLE_BYTES


class Bridge:
    """Passes requests to a WSGI application. `send_pieces` sends a streamed response from a thread."""

    def __init__(
        self,
        application: WSGIApplication,
        send_pieces: Callable[[ASGISendCallable, Answer, Iterable[bytes], asyncio.AbstractEventLoop], None],
    ) -> None:
        self._application = application
        self._send_pieces = send_pieces

    def run(
        self,
        environ: WSGIEnvironment,
        body: bytes | None,
        send: ASGISendCallable,
        loop: asyncio.AbstractEventLoop,
    ) -> Answer:
        """Returns the answer to one request. A streamed answer occupies the calling thread until it is sent.

        A `body` of None was not read. A view that reads it gets an OSError, not an empty body.
        """
        environ["wsgi.input"] = _Unread() if body is None else BytesIO(body)
        answer = Answer()
        start: StartResponse = answer.start  # type: ignore[assignment]  # nothing here uses the legacy `write`
        result = self._application(environ, start)
        try:
            if getattr(result, "streaming", False) and answer.is_long():
                answer.is_sent = True
                self._send_pieces(send, answer, result, loop)
            else:
                answer.body = b"".join(result)
        finally:
            # Here Django ends its request and releases the database connection.
            close = getattr(result, "close", None)
            if close is not None:
                close()
        return answer


class _Unread(BytesIO):
    """The body of a request that is refused without reading it."""

    def read(self, _size: int | None = -1, /) -> bytes:
        raise OSError("The request body was not read.")

    readline = read
