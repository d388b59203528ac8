"""Sends hints through the broker. Nothing waits for it, and nothing is lost if it is away."""

from __future__ import annotations

import threading
import time
from functools import cache
from typing import Any, Protocol

import structlog
from celery import current_app
from django.conf import settings
from django.db import transaction
from kombu.exceptions import OperationalError
from redis import Redis, RedisError

logger = structlog.get_logger(__name__)

_PROBE_EVERY_SECONDS = 0.5
# Hints of one queue that may wait. If that many wait, another one would say nothing new.
_MAX_WAITING = 100


class Hint(Protocol):
    """A Celery task, as far as a hint needs one."""

    name: str

    def apply_async(self, *, retry: bool) -> Any: ...


class _Outage:
    """Remembers that the broker is away. A thread asks it until it answers, so that no hint has to wait for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_away = False

    def lasts(self) -> bool:
        return self._is_away

    def begin(self) -> None:
        with self._lock:
            if not self._is_away:
                threading.Thread(target=self._await_end, name="broker-probe", daemon=True).start()
                self._is_away = True

    def _await_end(self) -> None:
        while True:
            time.sleep(_PROBE_EVERY_SECONDS)
            if not _ping():
                continue
            with self._lock:
                self._is_away = False
            logger.info("hints_are_sent_again")
            return


_outage = _Outage()


@cache
def client() -> Redis:
    """Returns the process's client of the broker, which has short timeouts."""
    return Redis.from_url(settings.REDIS_URL, socket_connect_timeout=1, socket_timeout=2)


def answers() -> bool:
    """Returns whether the broker can be reached now. During an outage, a thread finds out when it is over."""
    if _outage.lasts():
        return False
    if _ping():
        return True
    _outage.begin()
    return False


def is_away() -> bool:
    """Returns whether the broker was away a moment ago. A thread finds out when it is back."""
    return _outage.lasts()


def note_away() -> None:
    """Notes that the broker could not be reached, so that nobody waits for it until it is back."""
    _outage.begin()


def _ping() -> bool:
    try:
        return bool(client().ping())
    except (RedisError, OSError):
        return False


def send_hint(task: Hint) -> bool:
    """Tells a worker to look now. Returns whether enough hints are waiting for it.

    A hint that cannot be sent is dropped, because workers also look without hints.
    """
    if _outage.lasts():
        return False
    try:
        if client().llen(_queue_key(task.name)) < _MAX_WAITING:
            task.apply_async(retry=False)
    except (OperationalError, RedisError, OSError) as error:
        logger.warning("hint_not_sent", task=task.name, error=type(error).__name__)
        _outage.begin()
        return False
    return True


def send_hint_on_commit(task: Hint) -> None:
    """Sends a hint after the surrounding transaction is committed. A worker would find nothing before."""
    transaction.on_commit(lambda: send_hint(task))


@cache
def _queue_key(task_name: str) -> str:
    """Returns the key of the list that kombu keeps a queue of tasks in."""
    queue = current_app.amqp.router.route({}, task_name)["queue"]
    return f"{settings.REDIS_KEY_PREFIX}{getattr(queue, 'name', queue)}"
