"""Threads that do database work beside a test."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from django.db import connection

Result = TypeVar("Result")


class Threads:
    """Runs calls in threads. Each has its own database connection."""

    def __init__(self, executor: ThreadPoolExecutor) -> None:
        self._executor = executor

    def start(self, work: Callable[[], Result]) -> Future[Result]:
        def run() -> Result:
            try:
                return work()
            finally:
                connection.close()

        return self._executor.submit(run)
