"""The RSGI application: decides whether a body is read, reads it on the event loop, and runs Django in a thread.

A request costs a thread only once its body is here. Slow clients cost a few hundred bytes each, and are gone within
seconds. Whatever is wrong with a request, Django answers it, so that all errors look alike and are logged alike.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from commands_platform.lib.http.gateway.bodies import (
    BodyCutShortError,
    BodyLimits,
    BodyTooLargeError,
    BodyTooSlowError,
    read_body,
)
from commands_platform.lib.http.gateway.bridge import Bridge, environ_of
from commands_platform.lib.http.gateway.refusals import REFUSAL, TOO_MANY, TOO_SLOW
from commands_platform.lib.http.gateway.rsgi import ProtocolClosed
from commands_platform.lib.http.handlers import is_api_path

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication, WSGIEnvironment

    from commands_platform.lib.http.gateway.rsgi import HTTPProtocol, Scope

# Of a caller whose key has only the right shape, no more than this is read before the key is looked up.
MAX_BYTES_BEFORE_KEY = 16 * 1024


@dataclass(frozen=True, slots=True)
class Callers:
    """What the gateway asks about callers. `may_be_key` must be quick; `is_key` may ask the database."""

    may_be_key: Callable[[str], bool]
    is_key: Callable[[str], bool]
    address_of: Callable[[WSGIEnvironment], str]


class Gateway:
    """Serves a WSGI application. `max_requests_per_address` bounds what one client may have in progress here."""

    def __init__(
        self,
        application: WSGIApplication,
        *,
        callers: Callers,
        limits: BodyLimits,
        threads: int,
        max_requests_per_address: int,
    ) -> None:
        self._bridge = Bridge(application)
        self._callers = callers
        self._limits = limits
        self._max_requests_per_address = max_requests_per_address
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="web")
        self._in_progress: Counter[str] = Counter()

    async def __rsgi__(self, scope: Scope, protocol: HTTPProtocol) -> None:
        environ = environ_of(scope)
        address = self._callers.address_of(environ)
        self._in_progress[address] += 1
        try:
            await self._answer(environ, protocol, is_one_too_many=self._is_one_too_many(address))
        except (BodyCutShortError, ProtocolClosed):
            # The client is gone; nobody is left to answer.
            protocol.response_empty(400, [])
        finally:
            self._in_progress[address] -= 1
            if not self._in_progress[address]:
                del self._in_progress[address]

    def _is_one_too_many(self, address: str) -> bool:
        return self._in_progress[address] > self._max_requests_per_address

    async def _answer(self, environ: WSGIEnvironment, protocol: HTTPProtocol, *, is_one_too_many: bool) -> None:
        loop = asyncio.get_running_loop()
        body: bytes | None = b""
        if is_one_too_many:
            environ[REFUSAL] = TOO_MANY
        elif _has_body(environ):
            body = await self._body_of(environ, protocol, loop)
        await loop.run_in_executor(self._threads, self._bridge.run, environ, body, protocol, loop)

    async def _body_of(
        self, environ: WSGIEnvironment, protocol: HTTPProtocol, loop: asyncio.AbstractEventLoop
    ) -> bytes | None:
        """Returns the body, with its length in `environ`; None for a body that Django does not need in order to refuse.

        Raises BodyCutShortError.
        """
        announced = _announced_length(environ)
        try:
            if await self._is_wanted(environ, announced, loop):
                body = await read_body(protocol, announced=announced, limits=self._limits)
                environ["CONTENT_LENGTH"] = str(len(body))
                return body
        except BodyTooLargeError:
            announced = self._limits.max_bytes + 1
        except BodyTooSlowError:
            environ[REFUSAL] = TOO_SLOW
        environ["CONTENT_LENGTH"] = str(announced or 1)
        return None

    async def _is_wanted(
        self, environ: WSGIEnvironment, announced: int | None, loop: asyncio.AbstractEventLoop
    ) -> bool:
        if announced is not None and announced > self._limits.max_bytes:
            return False
        if not is_api_path(environ["PATH_INFO"]):
            return True
        key = environ.get("HTTP_X_API_KEY", "")
        if not self._callers.may_be_key(key):
            return False
        if announced is not None and announced <= MAX_BYTES_BEFORE_KEY:
            return True
        return await loop.run_in_executor(self._threads, self._callers.is_key, key)


def _has_body(environ: WSGIEnvironment) -> bool:
    return environ.get("CONTENT_LENGTH", "0") != "0" or "HTTP_TRANSFER_ENCODING" in environ


def _announced_length(environ: WSGIEnvironment) -> int | None:
    """Returns the Content-Length, which the server has checked; None for a body that comes in chunks."""
    length = environ.get("CONTENT_LENGTH")
    return int(length) if length else None
