"""Sends responses as fast as clients read them, and gives up on clients that do not read."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asgiref.typing import ASGISendCallable

    from commands_platform.lib.http.gateway.bridge import Answer

PIECE_BYTES = 64 * 1024


class ResponseSender:
    """Sends long responses piece by piece. It gives up on a client that reads none for `seconds`."""

    def __init__(self, *, seconds: float) -> None:
        self._seconds = seconds
        self.pending_bytes = 0
        """The bytes of complete responses that clients have not read yet."""

    async def send(self, send: ASGISendCallable, answer: Answer) -> None:
        """Sends a complete response. Raises TimeoutError, which closes the connection in the middle of the response."""
        await self._begin(send, answer)
        if len(answer.body) <= PIECE_BYTES:
            await send({"type": "http.response.body", "body": answer.body, "more_body": False})
            return
        length = len(answer.body)
        self.pending_bytes += length
        try:
            for offset in range(0, length, PIECE_BYTES):
                await self._send_piece(send, answer.body[offset : offset + PIECE_BYTES])
            await self._end(send)
        finally:
            self.pending_bytes -= length

    def send_pieces(
        self, send: ASGISendCallable, answer: Answer, pieces: Iterable[bytes], loop: asyncio.AbstractEventLoop
    ) -> None:
        """Sends a streamed response from the thread that makes it. Raises TimeoutError."""
        asyncio.run_coroutine_threadsafe(self._begin(send, answer), loop).result()
        for piece in pieces:
            asyncio.run_coroutine_threadsafe(self._send_piece(send, piece), loop).result()
        asyncio.run_coroutine_threadsafe(self._end(send), loop).result()

    async def _begin(self, send: ASGISendCallable, answer: Answer) -> None:
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers, "trailers": False})

    async def _send_piece(self, send: ASGISendCallable, piece: bytes) -> None:
        async with asyncio.timeout(self._seconds):
            await send({"type": "http.response.body", "body": piece, "more_body": True})

    async def _end(self, send: ASGISendCallable) -> None:
        await send({"type": "http.response.body", "body": b"", "more_body": False})
