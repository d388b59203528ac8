"""Notices when our own way to the receivers seems to be gone, while the database can still be reached.

One receiver that fails tells nothing. Several hosts that had answered and fail, one after the other, while nobody
answers, are a sign that the fault is ours: a route, a firewall or a resolver. Receivers that were down before are no
evidence, and a single answer ends the suspicion. It also ends an hour after the last answer, so that receivers that
are really down are given up.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache
from urllib.parse import urlsplit

import structlog

logger = structlog.get_logger(__name__)

MIN_HOSTS = 3
# A host counts if it has answered within this time. The suspicion lasts no longer than this after the last answer.
REMEMBERED_SECONDS = 3600.0
MAX_HOSTS = 10_000
# The time of a host's last answer is noted only this often, because noting it for each answer would cost time.
_NOTE_EVERY_SECONDS = 60.0


class WayOut:
    """Collects what the sender's attempts tell about the network between us and all receivers."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # When each host answered last, for those that have not failed since. The latest comes last.
        self._answered_at: dict[str, float] = {}
        self._last_answer_at = 0.0
        # The hosts that had answered and have failed since the last answer of any host.
        self._failed: set[str] = set()

    @property
    def is_gone(self) -> bool:
        """Returns whether an attempt without an answer is probably our own network's fault."""
        return len(self._failed) >= MIN_HOSTS and self._clock() - self._last_answer_at < REMEMBERED_SECONDS

    def note_failure(self, host: str) -> None:
        """Notes an attempt that our own network may have failed."""
        was_gone = self.is_gone
        if self._clock() - self._answered_at.pop(host, -REMEMBERED_SECONDS) < REMEMBERED_SECONDS:
            self._failed.add(host)
        if self.is_gone and not was_gone:
            logger.warning("receivers_out_of_reach", hosts=len(self._failed))

    def note_answer(self, host: str) -> frozenset[str]:
        """Notes an answer. If it shows that the way is back, returns the hosts that failed meanwhile."""
        now = self._last_answer_at = self._clock()
        if now - self._answered_at.get(host, -_NOTE_EVERY_SECONDS) >= _NOTE_EVERY_SECONDS:
            self._answered_at.pop(host, None)
            self._answered_at[host] = now
            if len(self._answered_at) > MAX_HOSTS:
                del self._answered_at[next(iter(self._answered_at))]
        if not self._failed:
            return frozenset()
        was_gone, failed = self.is_gone, frozenset(self._failed)
        self._failed.clear()
        if not was_gone:
            return frozenset()
        logger.info("receivers_within_reach")
        return failed


@lru_cache(maxsize=4096)
def host_of(origin: str) -> str:
    """Returns the host of an origin. Ports of one host are down together."""
    return urlsplit(origin).hostname or ""
