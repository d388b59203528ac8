"""Reads request bodies within limits of size and time, on the event loop."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asgiref.typing import ASGIReceiveCallable


class BodyTooLargeError(Exception):
    """The body has more bytes than the limit allows."""


class BodyTooSlowError(Exception):
    """The body did not arrive in time."""


class BodyCutShortError(Exception):
    """The client went away before the body was complete, or its chunks cannot be read."""


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """Limits on the size and the time of a body.

    It must be complete after `deadline` seconds. From `grace` seconds on it must also keep up `min_rate` bytes a
    second, so that a client that sends a byte now and then is cut off long before the deadline.
    """

    max_bytes: int
    deadline: float = 30.0
    grace: float = 5.0
    min_rate: int = 8 * 1024

    def time_left(self, elapsed: float, received: int) -> float:
        """Returns the seconds in which the next byte must arrive. They are negative if it is too late."""
        return min(self.deadline, self.grace + received / self.min_rate) - elapsed


async def read_body(receive: ASGIReceiveCallable, *, limits: BodyLimits) -> bytes:
    """Returns the whole body. Raises BodyTooLargeError, BodyTooSlowError or BodyCutShortError."""
    loop = asyncio.get_running_loop()
    started, received = loop.time(), 0
    parts: list[bytes] = []
    while True:
        try:
            async with asyncio.timeout(limits.time_left(loop.time() - started, received)):
                message = await receive()
        except TimeoutError as error:
            raise BodyTooSlowError from error
        if message["type"] != "http.request":
            raise BodyCutShortError
        part = message.get("body", b"")
        received += len(part)
        if received > limits.max_bytes:
            raise BodyTooLargeError
        if not message.get("more_body"):
            return b"".join([*parts, part])
        parts.append(part)
