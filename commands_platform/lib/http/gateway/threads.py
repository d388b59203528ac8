"""Threads that answer the requests of an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

_Result = TypeVar("_Result")
_Work = tuple[asyncio.Future[Any], Callable[..., Any], tuple[Any, ...]]


class LoopThreads:
    """Runs functions in `count` threads, and passes each result straight to the loop.

    `loop.run_in_executor` makes a second future for each call, with a lock of its own. For a request that costs as much
    as finding its view. The threads are daemons: the web server waits for open requests when it stops.
    """

    def __init__(self, count: int, name: str) -> None:
        self._works: SimpleQueue[_Work] = SimpleQueue()
        for number in range(count):
            Thread(target=self._serve, name=f"{name}-{number}", daemon=True).start()

    def run(self, function: Callable[..., _Result], *arguments: Any) -> asyncio.Future[_Result]:
        """Returns a future of the running loop with the function's result or exception."""
        future: asyncio.Future[_Result] = asyncio.get_running_loop().create_future()
        self._works.put((future, function, arguments))
        return future

    def _serve(self) -> None:
        while True:
            future, function, arguments = self._works.get()
            try:
                result, error = function(*arguments), None
            # The caller decides about every error, as with any future.
            except BaseException as raised:  # noqa: BLE001
                result, error = None, raised
            # The loop is closed if the server stops before the function has ended.
            with suppress(RuntimeError):
                future.get_loop().call_soon_threadsafe(_settle, future, result, error)
            # Without this the last request would stay in memory while the thread waits.
            del future, function, arguments, result, error


def _settle(future: asyncio.Future[Any], result: object, error: BaseException | None) -> None:
    if future.done():
        # The request was cancelled meanwhile.
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
