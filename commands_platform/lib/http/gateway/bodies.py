"""Reads request bodies within limits of size and time, on the event loop."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from commands_platform.lib.http.gateway.rsgi import ProtocolClosed

if TYPE_CHECKING:
    from commands_platform.lib.http.gateway.rsgi import HTTPProtocol


class BodyTooLargeError(Exception):
    """The body has more bytes than the limit allows."""


class BodyTooSlowError(Exception):
    """The body did not arrive in time."""


class BodyCutShortError(Exception):
    """The client went away before the body was complete."""


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """How large and how slow a body may be.

    It must be complete after `deadline` seconds. Once `grace` seconds have passed, it must have kept up a rate of
    `least_rate` bytes a second, so that a client which sends a byte now and then is gone long before the deadline.
    """

    max_bytes: int
    deadline: float = 30.0
    grace: float = 5.0
    least_rate: int = 8 * 1024

    def time_left(self, elapsed: float, received: int) -> float:
        """Returns the seconds until the next byte must have arrived; negative when it is too late."""
        return min(self.deadline, self.grace + received / self.least_rate) - elapsed


async def read_body(protocol: HTTPProtocol, *, announced: int | None, limits: BodyLimits) -> bytes:
    """Returns the whole body. `announced` is its Content-Length; None for a body that comes in chunks.

    Raises BodyTooLargeError, BodyTooSlowError or BodyCutShortError. A chunked body that is cut short between two chunks
    cannot be told from a complete one here, but it is no complete JSON.
    """
    loop = asyncio.get_running_loop()
    started, received = loop.time(), 0
    parts: list[bytes] = []
    chunks = aiter(protocol)
    while True:
        try:
            async with asyncio.timeout(limits.time_left(loop.time() - started, received)):
                part = await anext(chunks)
        except StopAsyncIteration:
            break
        except TimeoutError as error:
            raise BodyTooSlowError from error
        except ProtocolClosed as error:
            raise BodyCutShortError from error
        received += len(part)
        if received > limits.max_bytes:
            raise BodyTooLargeError
        parts.append(part)
        if received == announced:
            break
    if announced is not None and received < announced:
        raise BodyCutShortError
    return b"".join(parts)
