"""Lookups of names that a test can let hang."""

from __future__ import annotations

import threading
from collections import Counter
from types import TracebackType

from harness.platform import wait_until
from outbound.resolver import Resolver


class Lookups:
    """A lookup function. Use it as a context manager, which ends all lookups that still hang."""

    def __init__(self, addresses: tuple[str, ...]) -> None:
        self.addresses = addresses
        self.error: OSError | None = None
        self.counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._hanging: dict[str, threading.Event] = {}

    def __enter__(self) -> Lookups:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.answer_all()

    def __call__(self, host: str) -> tuple[str, ...]:
        with self._lock:
            self.counts[host] += 1
            hanging = self._hanging.get(host)
        if hanging is not None:
            hanging.wait()
        if self.error is not None:
            raise self.error
        return self.addresses

    def hang(self, *hosts: str) -> None:
        """Lets the next lookups of these names hang."""
        for host in hosts:
            self._hanging[host] = threading.Event()

    def answer(self, *hosts: str) -> None:
        """Ends the lookups of these names that hang. Later ones do not hang."""
        for host in hosts:
            self._hanging.pop(host).set()

    def answer_all(self) -> None:
        """Ends all lookups that hang."""
        self.answer(*list(self._hanging))

    def wait_for(self, number: int) -> None:
        """Returns once that many lookups have begun."""
        wait_until(lambda: self.counts.total() >= number, wanted=lambda: f"{number} lookups, only {self.counts}")


def settle(resolver: Resolver, host: str) -> None:
    """Returns once the resolver has noted the end of the name's lookup, if one is in progress."""

    def is_over() -> bool:
        # It notes the ends of lookups whenever it is asked for a name. This one needs no lookup.
        resolver.addresses_of("localhost", organization=0)
        return not resolver.is_looking_up(host)

    wait_until(is_over, wanted=lambda: f"resolved: {host}")
