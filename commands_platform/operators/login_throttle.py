"""Limits the attempts to log in, for each account and for each address.

The counts are in Valkey, which all web processes share. While Valkey is away, each process counts its own attempts.
"""

from __future__ import annotations

import hashlib
import math
import time
import unicodedata
from datetime import timedelta
from functools import cache

import structlog
from django.conf import settings
from limits import RateLimitItem, RateLimitItemPerSecond
from limits.errors import StorageError
from limits.storage import MemoryStorage, RedisStorage, Storage
from limits.strategies import MovingWindowRateLimiter

from commands_platform.lib.http.client_address import network_of

logger = structlog.get_logger(__name__)

ATTEMPTS_WINDOW = timedelta(minutes=15)
MAX_ATTEMPTS_PER_ACCOUNT = 10
# This is higher because all operators in an office may share one address.
MAX_ATTEMPTS_PER_ADDRESS = 50

_seconds = int(ATTEMPTS_WINDOW.total_seconds())
_PER_ACCOUNT = RateLimitItemPerSecond(MAX_ATTEMPTS_PER_ACCOUNT, _seconds, namespace="account")
_PER_ADDRESS = RateLimitItemPerSecond(MAX_ATTEMPTS_PER_ADDRESS, _seconds, namespace="address")
_is_away = False


def count_attempt(*, account: str, address: str) -> timedelta | None:
    """Counts an attempt to log in. Returns None if it is allowed, or else the time to wait before the next attempt."""
    # Always count both. Attempts on a blocked account must still count for their address.
    waits = [_count(item, key) for item, key in _counters(account, address)]
    longest = max(waits)
    return timedelta(seconds=longest) if longest else None


def forget_account(account: str) -> None:
    """Forgets the attempts for an account after a successful login. Those of the address still count."""
    for limiter in (_shared(settings.REDIS_URL), _of_this_process()):
        try:
            limiter.clear(_PER_ACCOUNT, _account_key(account))
        except StorageError:
            # The counts expire by themselves.
            continue


def _counters(account: str, address: str) -> tuple[tuple[RateLimitItem, str], ...]:
    return (_PER_ACCOUNT, _account_key(account)), (_PER_ADDRESS, network_of(address))


def _count(item: RateLimitItem, key: str) -> int:
    """Returns the number of seconds to wait, or 0 if the attempt is allowed."""
    global _is_away  # noqa: PLW0603
    try:
        wait = _hit(_shared(settings.REDIS_URL), item, key)
    except StorageError as error:
        if not _is_away:
            logger.warning("login_throttle_counts_in_memory", error=type(error.storage_error).__name__)
        _is_away = True
        return _hit(_of_this_process(), item, key)
    if _is_away:
        logger.info("login_throttle_counts_in_valkey")
    _is_away = False
    return wait


def _hit(limiter: MovingWindowRateLimiter, item: RateLimitItem, key: str) -> int:
    if limiter.hit(item, key):
        return 0
    return max(1, math.ceil(limiter.get_window_stats(item, key).reset_time - time.time()))


@cache
def _shared(url: str) -> MovingWindowRateLimiter:
    storage = RedisStorage(
        url,
        wrap_exceptions=True,
        key_prefix=f"{settings.REDIS_KEY_PREFIX}logins",
        socket_connect_timeout=1,
        socket_timeout=2,
    )
    return MovingWindowRateLimiter(storage)


@cache
def _of_this_process() -> MovingWindowRateLimiter:
    storage: Storage = MemoryStorage()
    return MovingWindowRateLimiter(storage)


def _account_key(account: str) -> str:
    # People sometimes type a password into the wrong field, so only a hash of the text is stored.
    return hashlib.sha256(unicodedata.normalize("NFKC", account).casefold().encode()).hexdigest()
