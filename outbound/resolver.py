"""Resolves the names of receivers in threads, so that a name whose lookup hangs does not delay other names.

A lookup cannot be ended, only left to its thread. So an organization may have only as many in progress as leave enough
threads to others: it may begin another while `_SHARE` times its number is less than the number of free threads. Some
threads are kept for organizations without a lookup. One organization alone can use 13 of 96 threads.
"""

from __future__ import annotations

import _thread
import math
import socket
import time
import weakref
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import NamedTuple

import structlog

logger = structlog.get_logger(__name__)

# How a name is looked up. It returns addresses in the order in which they should be tried, or raises OSError.
LookUp = Callable[[str], tuple[str, ...]]

MAX_LOOKUPS = 96
MAX_NAMES = 10_000
MAX_ADDRESSES = 16

# Addresses are used for this long. After half of it a new lookup begins in the background.
FRESH_SECONDS = 30.0
_RENEW_SECONDS = 15.0
# After that they are used only if the new lookup fails or takes longer than `_PATIENCE_SECONDS`.
STALE_SECONDS = 600.0
_PATIENCE_SECONDS = 0.5
# A failure counts for this long, so that a bad name does not cost a lookup for each callback.
FAILED_SECONDS = 5.0

# A lookup that takes longer than this makes its name a slow one.
_SLOW_SECONDS = 2.0
_SHARE = 4
# For slow names, and for names whose addresses may still be used, so that they leave threads to urgent lookups.
_SHARE_IF_NOT_URGENT = 8
_KEPT_FOR_FIRST_LOOKUPS = 32

# RFC 6761 §6.3: these names always mean loopback. This is also libcurl's order.
_LOOPBACK = ("::1", "127.0.0.1")
# The name has no address. Any other error may pass.
_ERRORS_OF_NO_ADDRESS = frozenset({socket.EAI_NONAME, socket.EAI_NODATA, socket.EAI_FAMILY, socket.EAI_ADDRFAMILY})


@dataclass(slots=True)
class _Name:
    """The state of a name. Times are those of the resolver's clock."""

    addresses: tuple[str, ...] = ()
    resolved_at: float = -math.inf
    failed_at: float = -math.inf
    # Since when a lookup is wanted that has not ended.
    wanted_since: float | None = None
    is_slow: bool = False


class _Lookup(NamedTuple):
    """A lookup in progress, and the organization that it counts against."""

    organization: int
    began_at: float


class _Finished(NamedTuple):
    """The end of a lookup. Without addresses, `is_final` says whether the name has none."""

    host: str
    at: float
    addresses: tuple[str, ...] = ()
    is_final: bool = False


class Resolver:
    """Resolves and remembers names. Only one thread may use it; it starts the others."""

    def __init__(self, look_up: LookUp | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._look_up = look_up or look_up_addresses
        self._clock = clock
        # The most recently used one comes last.
        self._names: dict[str, _Name] = {}
        self._in_progress: dict[str, _Lookup] = {}
        self._held: Counter[int] = Counter()
        # Threads take names from one queue and put results into the other. None ends a thread.
        self._hosts: SimpleQueue[str | None] = SimpleQueue()
        self._finished: SimpleQueue[_Finished] = SimpleQueue()
        # There are as many threads as there were ever lookups in progress, so none waits for a thread.
        self._threads = 0
        weakref.finalize(self, _end_threads, self._hosts)

    def addresses_of(self, host: str, *, organization: int) -> tuple[str, ...] | None:
        """Returns the addresses of a name, an empty tuple if it cannot be resolved, or None if that is not known yet.

        It never waits. After None, ask again: the lookup may not even have begun, if the organization has too many.
        """
        now = self._clock()
        if self._in_progress:
            self._note_finished()
        name = self._remember(host)
        age = now - name.resolved_at
        if age < _RENEW_SECONDS:
            return name.addresses
        if now - name.failed_at < FAILED_SECONDS:
            return name.addresses if age < STALE_SECONDS else ()
        if name.wanted_since is None:
            name.wanted_since = now
        if host not in self._in_progress:
            self._begin(host, name, organization, now)
        if age < FRESH_SECONDS:
            return name.addresses
        is_patient = now - name.wanted_since < _PATIENCE_SECONDS and name.failed_at <= name.resolved_at
        return None if is_patient or age >= STALE_SECONDS else name.addresses

    def is_looking_up(self, host: str) -> bool:
        """Returns whether a lookup of the name is in progress."""
        return host in self._in_progress

    def has_finished(self) -> bool:
        """Returns whether a lookup has ended that `addresses_of` has not noted yet."""
        return not self._finished.empty()

    def _begin(self, host: str, name: _Name, organization: int, now: float) -> None:
        held = self._held[organization]
        free = MAX_LOOKUPS - len(self._in_progress) - (_KEPT_FOR_FIRST_LOOKUPS if held else 0)
        if held * (_SHARE_IF_NOT_URGENT if name.is_slow or name.addresses else _SHARE) >= free:
            return
        if len(self._in_progress) == self._threads and not self._start_thread():
            name.failed_at = now
            return
        self._in_progress[host] = _Lookup(organization, now)
        self._held[organization] += 1
        self._hosts.put(host)

    def _start_thread(self) -> bool:
        """Starts one more thread. Returns False if the system allows no more."""
        work = (self._look_up, self._clock, self._hosts, self._finished)
        try:
            # `threading.Thread` would wait until the thread runs, which takes milliseconds on a busy machine.
            _thread.start_new_thread(_work, work)
        except RuntimeError:
            return False
        self._threads += 1
        return True

    def _note_finished(self) -> None:
        while not self._finished.empty():
            host, ended_at, addresses, is_final = self._finished.get()
            lookup = self._in_progress.pop(host)
            self._held[lookup.organization] -= 1
            if not self._held[lookup.organization]:
                del self._held[lookup.organization]
            name = self._names[host]
            name.wanted_since = None
            name.is_slow = ended_at - lookup.began_at >= _SLOW_SECONDS
            if addresses:
                name.addresses, name.resolved_at = addresses, ended_at
                continue
            name.failed_at = ended_at
            if is_final:
                name.addresses, name.resolved_at = (), -math.inf

    def _remember(self, host: str) -> _Name:
        """Returns what is known about the name, and marks it as used now."""
        name = self._names.pop(host, None)
        if name is None:
            name = _Name()
            if host == "localhost" or host.endswith(".localhost"):
                name.addresses, name.resolved_at = _LOOPBACK, math.inf
            self._forget_oldest()
        self._names[host] = name
        return name

    def _forget_oldest(self) -> None:
        """Makes room for one name. Those that are being looked up stay, and are few."""
        if len(self._names) >= MAX_NAMES:
            del self._names[next(host for host in self._names if host not in self._in_progress)]


def _work(
    look_up: LookUp,
    clock: Callable[[], float],
    hosts: SimpleQueue[str | None],
    finished: SimpleQueue[_Finished],
) -> None:
    """Looks up names. It reports the end of each lookup in any case, or the name would hang for ever."""
    while (host := hosts.get()) is not None:
        addresses: tuple[str, ...] = ()
        is_final = False
        try:
            addresses = look_up(host)[:MAX_ADDRESSES]
        except OSError as error:
            is_final = error.errno in _ERRORS_OF_NO_ADDRESS
        except Exception:
            logger.exception("lookup_broke", host=host)
        finished.put(_Finished(host, clock(), addresses, is_final))


def _end_threads(hosts: SimpleQueue[str | None]) -> None:
    for _ in range(MAX_LOOKUPS):
        hosts.put(None)


def look_up_addresses(host: str) -> tuple[str, ...]:
    """Asks the system for the addresses of a name, as libcurl would. Raises OSError."""
    family = socket.AF_UNSPEC if socket.has_dualstack_ipv6() else socket.AF_INET
    found = socket.getaddrinfo(host.encode("ascii"), None, family, socket.SOCK_STREAM)
    # The zone of a link-local address is left out. The address guard refuses such addresses anyway.
    return tuple(dict.fromkeys(str(peer[0]).partition("%")[0] for *_, peer in found))
