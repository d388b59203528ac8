"""Tests the threads that answer the requests of an event loop."""

from __future__ import annotations

import asyncio
import threading
import weakref

import pytest

from commands_platform.lib.http.gateway.threads import LoopThreads


def test_a_result_reaches_the_loop_from_another_thread() -> None:
    async def asked() -> tuple[str, int]:
        return await LoopThreads(1, "probe").run(lambda word: (word, threading.get_ident()), "hello")

    word, thread = asyncio.run(asked())

    assert word == "hello"
    assert thread != threading.get_ident()


def test_an_error_reaches_the_caller_and_the_thread_goes_on() -> None:
    async def asked() -> int:
        threads = LoopThreads(1, "probe")
        with pytest.raises(ZeroDivisionError):
            await threads.run(lambda: 1 // 0)
        return await threads.run(lambda: 2)

    assert asyncio.run(asked()) == 2


def test_a_call_that_was_cancelled_is_forgotten() -> None:
    async def asked() -> int:
        threads, released = LoopThreads(1, "probe"), threading.Event()
        cancelled = threads.run(released.wait)
        cancelled.cancel()
        released.set()
        return await threads.run(lambda: 3)

    assert asyncio.run(asked()) == 3


def test_an_idle_thread_keeps_nothing_of_its_last_call() -> None:
    class Body:
        pass

    async def asked() -> weakref.ref[Body]:
        threads, body = LoopThreads(1, "probe"), Body()
        await threads.run(id, body)
        kept = weakref.ref(body)
        del body
        # The thread has taken the next call, so it has dropped the last one.
        await threads.run(lambda: None)
        return kept

    assert asyncio.run(asked())() is None
