"""Sends hints through the broker, and keeps beat's heartbeat in it."""

from __future__ import annotations

import time
from functools import cache
from typing import Any, Protocol

import structlog
from django.conf import settings
from django.db import transaction
from kombu.exceptions import OperationalError
from redis import Redis

logger = structlog.get_logger(__name__)

_PAUSE_AFTER_FAILURE = 1.0
_silent_until = 0.0


class Hint(Protocol):
    """A Celery task, as far as a hint needs one."""

    name: str

    def apply_async(self, *, expires: float, retry: bool) -> Any: ...


@cache
def client() -> Redis:
    """Returns the process's client of the broker, which has short timeouts."""
    return Redis.from_url(settings.REDIS_URL, socket_connect_timeout=1, socket_timeout=2)


def note_beat() -> None:
    """Notes that beat is alive, for the next five seconds. May raise RedisError."""
    client().set(beat_key(), int(time.time()), ex=5)


def beat_lives() -> bool:
    """Returns whether beat has ticked in the last five seconds. May raise RedisError."""
    return client().get(beat_key()) is not None


def beat_key() -> str:
    return f"{settings.REDIS_KEY_PREFIX}beat"


def send_hint(task: Hint) -> None:
    """Tells a worker to look now. A hint that cannot be sent is dropped, because the next tick has the same effect."""
    global _silent_until  # noqa: PLW0603
    if time.monotonic() < _silent_until:
        return
    try:
        task.apply_async(expires=5, retry=False)
    except (OperationalError, OSError) as error:
        # While the broker is unavailable, each try takes a connection timeout. Not every caller should wait for it.
        _silent_until = time.monotonic() + _PAUSE_AFTER_FAILURE
        logger.warning("hint_not_sent", task=task.name, error=type(error).__name__)


def send_hint_on_commit(task: Hint) -> None:
    """Sends a hint after the surrounding transaction is committed. A worker would find nothing before."""
    transaction.on_commit(lambda: send_hint(task))
