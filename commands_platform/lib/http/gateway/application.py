"""The ASGI application: decides whether a body is read, reads it on the event loop, and runs Django in a thread.

A request occupies a thread only after its body is complete. A slow client occupies a few hundred bytes, and is cut off
within seconds. Django answers invalid requests too, so that all errors look alike and are logged alike.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from commands_platform.lib.http.gateway.bodies import (
    BodyCutShortError,
    BodyLimits,
    BodyTooLargeError,
    BodyTooSlowError,
    read_body,
)
from commands_platform.lib.http.gateway.bridge import Bridge, environ_of
from commands_platform.lib.http.gateway.refusals import CUT_SHORT, OVERLOADED, REFUSAL, TOO_MANY, TOO_SLOW, Refusal
from commands_platform.lib.http.gateway.sending import ResponseSender
from commands_platform.lib.http.gateway.threads import LoopThreads
from commands_platform.lib.http.handlers import is_api_path

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication, WSGIEnvironment

    from asgiref.typing import ASGIReceiveCallable, ASGISendCallable, HTTPScope

logger = structlog.get_logger(__name__)

# Larger bodies are read only once the key has been found in the database.
MAX_BYTES_BEFORE_KEY = 16 * 1024


@dataclass(frozen=True, slots=True)
class Callers:
    """Functions that check callers for the gateway. `may_be_key` must be quick. `is_key` may query the database."""

    may_be_key: Callable[[str], bool]
    is_key: Callable[[str], bool]
    address_of: Callable[[WSGIEnvironment], str]


@dataclass(frozen=True, slots=True)
class GatewayLimits:
    """Limits on what clients may use of one process. Times are in seconds."""

    body: BodyLimits
    requests_per_address: int
    """Requests that one client address may have in progress."""
    send_seconds: float = 10.0
    """The time in which a client must read a piece of a long response."""
    pending_bytes: int = 24 * 1024 * 1024
    """Bytes of responses that clients have not read yet. With more, requests are refused."""


class Gateway:
    """Serves a WSGI application with `threads` threads. The `urgent_paths` have one more thread of their own."""

    def __init__(
        self,
        application: WSGIApplication,
        *,
        callers: Callers,
        limits: GatewayLimits,
        threads: int,
        urgent_paths: Collection[str] = (),
    ) -> None:
        self._callers = callers
        self._limits = limits
        self._sender = ResponseSender(seconds=limits.send_seconds)
        self._bridge = Bridge(application, self._sender.send_pieces)
        self._threads = LoopThreads(threads, "web")
        self._urgent_thread = LoopThreads(1, "urgent")
        self._urgent_paths = frozenset(urgent_paths)
        self._in_progress: Counter[str] = Counter()

    async def __call__(self, scope: HTTPScope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        environ = environ_of(scope)
        address = self._callers.address_of(environ)
        self._in_progress[address] += 1
        try:
            await self._answer(environ, receive, send, address)
        except TimeoutError:
            logger.warning("response_was_not_read", address=address)
        finally:
            self._in_progress[address] -= 1
            if not self._in_progress[address]:
                del self._in_progress[address]

    async def _answer(
        self, environ: WSGIEnvironment, receive: ASGIReceiveCallable, send: ASGISendCallable, address: str
    ) -> None:
        loop = asyncio.get_running_loop()
        is_urgent = environ["PATH_INFO"] in self._urgent_paths
        refusal = None if is_urgent else self._refusal_of(address)
        body: bytes | None = b""
        if refusal is not None:
            environ[REFUSAL] = refusal
        elif _has_body(environ):
            body = await self._body_of(environ, receive)
        threads = self._urgent_thread if is_urgent else self._threads
        answer = await threads.run(self._bridge.run, environ, body, send, loop)
        if not answer.is_sent:
            await self._sender.send(send, answer)

    def _refusal_of(self, address: str) -> Refusal | None:
        """Returns the reason to refuse a request before looking at it, or None."""
        if self._in_progress[address] > self._limits.requests_per_address:
            return TOO_MANY
        return OVERLOADED if self._sender.pending_bytes > self._limits.pending_bytes else None

    async def _body_of(self, environ: WSGIEnvironment, receive: ASGIReceiveCallable) -> bytes | None:
        """Returns the body and sets its length in `environ`, or returns None if Django needs no body to refuse."""
        announced = _announced_length(environ)
        try:
            if await self._is_wanted(environ, announced):
                body = await read_body(receive, limits=self._limits.body)
                environ["CONTENT_LENGTH"] = str(len(body))
                return body
        except BodyTooLargeError:
            announced = self._limits.body.max_bytes + 1
        except BodyTooSlowError:
            environ[REFUSAL] = TOO_SLOW
        except BodyCutShortError:
            # Usually the client is gone. A client whose chunks are malformed is still there.
            environ[REFUSAL] = CUT_SHORT
        environ["CONTENT_LENGTH"] = str(announced or 1)
        return None

    async def _is_wanted(self, environ: WSGIEnvironment, announced: int | None) -> bool:
        if announced is not None and announced > self._limits.body.max_bytes:
            return False
        if not is_api_path(environ["PATH_INFO"]):
            return True
        key = environ.get("HTTP_X_API_KEY", "")
        if not self._callers.may_be_key(key):
            return False
        if announced is not None and announced <= MAX_BYTES_BEFORE_KEY:
            return True
        return await self._threads.run(self._callers.is_key, key)


def _has_body(environ: WSGIEnvironment) -> bool:
    return environ.get("CONTENT_LENGTH", "0") != "0" or "HTTP_TRANSFER_ENCODING" in environ


def _announced_length(environ: WSGIEnvironment) -> int | None:
    """Returns the Content-Length, which the server has checked, or None for a body that comes in chunks."""
    length = environ.get("CONTENT_LENGTH")
    return int(length) if length else None
