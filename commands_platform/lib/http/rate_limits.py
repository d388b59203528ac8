"""Limits how often a caller may send requests, for all web processes together.

The counts are in Valkey, one for each caller and period. A caller may have as many requests as the limit in the present
period, together with that share of the last period's requests which a window of one period's length still covers.

A process takes requests from the count in portions, which it then allows without asking again. A portion doubles each
time it is used up within a second, up to a hundredth of the limit. So a caller with few requests is counted exactly,
and a busy one costs few round trips. While Valkey is away, every request is allowed.
"""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import NamedTuple

import structlog
from django.conf import settings
from limits.storage import RedisStorage
from redis import RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry

from commands_platform.lib import broker
from commands_platform.lib.rates import Rate

logger = structlog.get_logger(__name__)

_MAX_PORTION = 100
_PORTION_SECONDS = 1.0
_VALKEY_SECONDS = 0.1
# Callers without a valid key can have any number of addresses.
MAX_CALLERS_KEPT = 10_000


class Allowance(NamedTuple):
    """The requests that a caller has left, the time when the period ends, and the wait if none is left."""

    rate: Rate
    remaining: int
    reset_at: int
    wait: int = 0

    @property
    def headers(self) -> dict[str, str]:
        """The headers that tell a caller about its limit."""
        left = max(0, self.reset_at - int(time.time()))
        return {
            "X-RateLimit-Limit": str(self.rate.amount),
            "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Reset": str(self.reset_at),
            "RateLimit": f'"default";r={self.remaining};t={left}',
            "RateLimit-Policy": _policy(self.rate),
        }


@dataclass(slots=True)
class _Portion:
    """The requests that this process may still allow a caller without asking Valkey."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    size: int = 0
    left: int = 0
    left_elsewhere: int = 0
    taken_at: float = 0.0
    ends_at: float = 0.0
    blocked_until: float = 0.0
    previous: tuple[int, int] = (-1, 0)
    """A period's number, and its final count."""


class RateLimiter:
    """The limits of one process."""

    def __init__(self, storage: RedisStorage) -> None:
        self.storage = storage
        self._portions: dict[str, _Portion] = {}
        self._is_away = False

    def take(self, caller: str, rate: Rate) -> Allowance | None:
        """Counts a request of the caller. Returns None if it cannot be counted, because Valkey is away."""
        portion = self._portions.get(caller) or self._begin(caller)
        with portion.lock:
            now = time.time()
            reset_at = (int(now) // rate.period + 1) * rate.period
            is_used_up = not (portion.left and now < portion.ends_at) and now >= portion.blocked_until
            if is_used_up and not self._renew_if_possible(portion, caller, rate, now):
                return None
            if portion.left:
                portion.left -= 1
                return Allowance(rate, portion.left_elsewhere + portion.left, reset_at)
            return Allowance(rate, 0, reset_at, max(1, math.ceil(portion.blocked_until - now)))

    def _begin(self, caller: str) -> _Portion:
        if len(self._portions) >= MAX_CALLERS_KEPT:
            self._portions.clear()
        return self._portions.setdefault(caller, _Portion())

    def _renew_if_possible(self, portion: _Portion, caller: str, rate: Rate, now: float) -> bool:
        """Takes another portion. Returns False if Valkey is away, which is logged once."""
        name = None
        if not broker.is_away():
            try:
                self._renew(portion, caller, rate, now)
            except (RedisError, OSError) as error:
                broker.note_away()
                name = type(error).__name__
            else:
                if self._is_away:
                    logger.info("rate_limits_counted_again")
                self._is_away = False
                return True
        if not self._is_away:
            logger.warning("rate_limits_not_counted", error=name)
        self._is_away = True
        return False

    def _renew(self, portion: _Portion, caller: str, rate: Rate, now: float) -> None:
        """Takes another portion from the count, or notes until when the caller has to wait."""
        is_busy = now - portion.taken_at < _PORTION_SECONDS
        most = max(1, min(_MAX_PORTION, rate.amount // 100))
        wanted = min(most, 2 * portion.size) if is_busy and portion.size else 1
        number = int(now) // rate.period
        elapsed = now / rate.period - number
        last = self._count_of(portion, caller, rate, number - 1)
        count = self.storage.incr(_key(caller, rate, number), 2 * rate.period, wanted)
        free = math.floor(rate.amount - last * (1 - elapsed)) - (count - wanted)
        granted = max(0, min(wanted, free))
        if granted < wanted:
            # A caller that goes on asking must not lengthen its own wait.
            self.storage.incr(_key(caller, rate, number), 2 * rate.period, granted - wanted)
        portion.size, portion.left, portion.left_elsewhere = wanted, granted, max(0, free - granted)
        portion.taken_at, portion.ends_at = now, min(now + rate.period, (number + 1) * rate.period)
        portion.blocked_until = 0.0 if granted else now + _wait(rate, count - wanted, last, elapsed)

    def _count_of(self, portion: _Portion, caller: str, rate: Rate, number: int) -> int:
        """Returns the final count of the period before this one. It is read once in each period."""
        if portion.previous[0] != number:
            portion.previous = (number, self.storage.get(_key(caller, rate, number)))
        return portion.previous[1]


@cache
def process_limiter() -> RateLimiter:
    """Returns the limiter of this process."""
    storage = RedisStorage(
        settings.REDIS_URL,
        key_prefix=f"{settings.REDIS_KEY_PREFIX}rates",
        # A request must not wait for Valkey. A connection that Valkey has closed is opened once more.
        retry=Retry(NoBackoff(), 1),  # type: ignore[arg-type]  # the options are passed on as they are
        socket_connect_timeout=_VALKEY_SECONDS,
        socket_timeout=_VALKEY_SECONDS,
    )
    return RateLimiter(storage)


def _key(caller: str, rate: Rate, number: int) -> str:
    return f"{caller}/{rate.period}/{number}"


def _wait(rate: Rate, count: int, last: int, elapsed: float) -> float:
    """Returns the seconds until a caller may send one more request.

    `count` is the count of this period, of which the share `elapsed` is over. `last` is that of the period before it.
    """
    if count < rate.amount:
        return rate.period * (1 - (rate.amount - 1 - count) / last - elapsed)
    return rate.period * (1 - elapsed + 1 - (rate.amount - 1) / count)


@lru_cache(maxsize=256)
def _policy(rate: Rate) -> str:
    return f'"default";q={rate.amount};w={rate.period}'
