"""Finds the addresses of receivers before their requests begin, and keeps the transfers that wait for them.

libcurl resolves names in few threads, so names that hang would delay all new connections. It is told the addresses, and
looks nothing up. With a forward proxy the proxy resolves names, and nothing waits here.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import ip_address
from typing import NamedTuple

from deliveries.pacing import POLL_SECONDS
from deliveries.queue import Claim
from deliveries.transfer import Transfer
from outbound.resolver import Resolver

# Most lookups end within milliseconds, so a new wait is looked at often, and an old one less and less.
_MIN_LOOK_SECONDS = 0.005
_LOOKS_DURING_WAIT = 20

_HOST_NAME = re.compile(r"[A-Za-z0-9._-]+")
_DEFAULT_PORTS = {"http": 80, "https": 443}

# libcurl needs to be told nothing about the receiver.
NOTHING = ""
# The receiver's name cannot be resolved.
UNRESOLVABLE = "-"


class _Place(NamedTuple):
    """A receiver whose address must be looked up."""

    host: str
    port: int


class Resolved(NamedTuple):
    """A transfer that waits no longer, its claim, and what `addresses_of` now returns for it."""

    transfer: Transfer
    claim: Claim
    addresses: str


class Resolving:
    """The transfers that wait for the addresses of their receivers."""

    def __init__(self, resolver: Resolver | None) -> None:
        self._resolver = resolver
        self._waiting: dict[Transfer, Claim] = {}
        self._latest_at = self._next_look_at = 0.0

    def __len__(self) -> int:
        return len(self._waiting)

    def addresses_of(self, claim: Claim) -> str | None:
        """Returns what libcurl must be told about the receiver: an entry of CURLOPT_RESOLVE, or NOTHING.

        Returns UNRESOLVABLE if the receiver's name has no addresses, or None if that is not known yet.
        """
        place = _place_of(claim.url)
        if self._resolver is None or place is None:
            return NOTHING
        addresses = self._resolver.addresses_of(place.host, organization=claim.organization_id)
        if not addresses:
            return None if addresses is None else UNRESOLVABLE
        # With the plus, the entry ends like any that libcurl has looked up. Otherwise it would be kept for ever.
        return f"+{place.host}:{place.port}:{','.join(addresses)}"

    def wait(self, transfer: Transfer, claim: Claim) -> None:
        """Keeps the transfer of this claim until `resolved` returns it."""
        self._waiting[transfer] = claim
        self._latest_at = time.monotonic()

    def stop_waiting(self, transfer: Transfer) -> None:
        """Forgets the transfer, if it waits."""
        self._waiting.pop(transfer, None)

    def resolved(self) -> Sequence[Resolved]:
        """Returns the transfers whose wait has ended since the last call."""
        if not self._waiting or self._resolver is None:
            return ()
        now = time.monotonic()
        if now < self._next_look_at and not self._resolver.has_finished():
            return ()
        self._next_look_at = now + POLL_SECONDS
        found = []
        for transfer, claim in self._waiting.items():
            addresses = self.addresses_of(claim)
            if addresses is not None:
                found.append(Resolved(transfer, claim, addresses))
        for each in found:
            del self._waiting[each.transfer]
            each.transfer.end_wait()
        return found

    def in_line(self, transfer: Transfer) -> Claim | None:
        """Returns the claim of the transfer if it waits and the lookup of its name has not even begun."""
        claim = self._waiting.get(transfer)
        place = _place_of(claim.url) if claim else None
        if self._resolver is None or place is None or self._resolver.is_looking_up(place.host):
            return None
        return claim

    def poll_seconds(self) -> float:
        """Returns how long the sender may sleep before it looks again."""
        if not self._waiting:
            return POLL_SECONDS
        waited = time.monotonic() - self._latest_at
        return min(max(_MIN_LOOK_SECONDS, waited / _LOOKS_DURING_WAIT), POLL_SECONDS)


def _place_of(url: str) -> _Place | None:
    scheme, _, rest = url.partition("://")
    return _place_in(scheme, rest.partition("/")[0])


@lru_cache(maxsize=4096)
def _place_in(scheme: str, authority: str) -> _Place | None:
    """Returns the name and port of a receiver, or None for a literal address and for a URL that libcurl will refuse."""
    host, _, text = authority.partition(":")
    port = int(text) if text.isdecimal() else _DEFAULT_PORTS.get(scheme, 0)
    if not _HOST_NAME.fullmatch(host) or not 1 <= port <= 65535:
        return None
    try:
        ip_address(host)
    except ValueError:
        return _Place(host.lower(), port)
    return None
