"""Counters of the present hour, which all processes share. They are in Valkey, and may be lost with it."""

from __future__ import annotations

import time

from django.conf import settings
from redis import RedisError

from commands_platform.lib import broker

_HOUR_SECONDS = 3600


def add_in_hour(name: str, amount: int) -> int | None:
    """Adds to the counter. Returns its new value, or None if Valkey is away."""
    if broker.is_away():
        return None
    key = f"{settings.REDIS_KEY_PREFIX}counters/{name}/{int(time.time()) // _HOUR_SECONDS}"
    try:
        with broker.client().pipeline(transaction=False) as pipeline:
            pipeline.incrby(key, amount)
            pipeline.expire(key, 2 * _HOUR_SECONDS)
            value, _ = pipeline.execute()
    except (RedisError, OSError):
        broker.note_away()
        return None
    return int(value)
