"""Names of receivers are resolved in threads, and names whose lookup hangs delay no others."""

from __future__ import annotations

import _thread
import socket
from collections import Counter
from collections.abc import Iterator

import pytest

from outbound import resolver as resolving
from outbound.resolver import FAILED_SECONDS, FRESH_SECONDS, MAX_LOOKUPS, STALE_SECONDS, Resolver
from tests.clocks import Clock
from tests.outbound.lookups import Lookups, settle

ADDRESSES = ("192.0.2.1", "2001:db8::1")
OURS, THEIRS = 1, 2


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lookups() -> Iterator[Lookups]:
    with Lookups(ADDRESSES) as running:
        yield running


@pytest.fixture
def resolver(lookups: Lookups, clock: Clock) -> Resolver:
    return Resolver(lookups, clock=clock)


def resolve(resolver: Resolver, host: str = "receiver.example", *, organization: int = OURS) -> tuple[str, ...] | None:
    """Returns what is known about the name once its lookup, if one begins, has ended."""
    resolver.addresses_of(host, organization=organization)
    settle(resolver, host)
    return resolver.addresses_of(host, organization=organization)


def begin_hanging(resolver: Resolver, lookups: Lookups, number: int, *, organization: int) -> list[str]:
    """Asks for that many names whose lookup hangs. Returns those whose lookup has begun."""
    hosts = [f"hangs-{index}.of-{organization}.example" for index in range(number)]
    lookups.hang(*hosts)
    for host in hosts:
        assert resolver.addresses_of(host, organization=organization) is None
    return [host for host in hosts if resolver.is_looking_up(host)]


def test_a_name_is_looked_up_without_waiting_and_then_remembered(resolver: Resolver, lookups: Lookups) -> None:
    lookups.hang("receiver.example")
    assert resolver.addresses_of("receiver.example", organization=OURS) is None
    assert resolver.addresses_of("receiver.example", organization=OURS) is None
    lookups.answer("receiver.example")
    settle(resolver, "receiver.example")

    assert resolver.addresses_of("receiver.example", organization=OURS) == ADDRESSES
    assert resolver.addresses_of("receiver.example", organization=THEIRS) == ADDRESSES
    assert lookups.counts == Counter({"receiver.example": 1})


@pytest.mark.parametrize("host", ["localhost", "a.localhost"])
def test_names_of_loopback_need_no_lookup(resolver: Resolver, lookups: Lookups, clock: Clock, host: str) -> None:
    for _ in range(2):
        assert resolver.addresses_of(host, organization=OURS) == ("::1", "127.0.0.1")
        clock.now += STALE_SECONDS + 1
    assert not lookups.counts


def test_a_name_in_use_is_looked_up_again_before_its_addresses_are_old(
    resolver: Resolver, lookups: Lookups, clock: Clock
) -> None:
    resolve(resolver)
    clock.now += FRESH_SECONDS * 0.6
    lookups.addresses = ("192.0.2.9",)

    assert resolver.addresses_of("receiver.example", organization=OURS) == ADDRESSES
    settle(resolver, "receiver.example")
    assert resolver.addresses_of("receiver.example", organization=OURS) == ("192.0.2.9",)


def test_a_name_that_was_not_in_use_gets_its_new_addresses_first(
    resolver: Resolver, lookups: Lookups, clock: Clock
) -> None:
    """Its old address may belong to somebody else by now."""
    resolve(resolver)
    clock.now += FRESH_SECONDS
    lookups.addresses = ("192.0.2.9",)

    assert resolver.addresses_of("receiver.example", organization=OURS) is None
    settle(resolver, "receiver.example")
    assert resolver.addresses_of("receiver.example", organization=OURS) == ("192.0.2.9",)


def test_the_last_addresses_are_used_while_a_new_lookup_hangs(
    resolver: Resolver, lookups: Lookups, clock: Clock
) -> None:
    resolve(resolver)
    clock.now += FRESH_SECONDS
    lookups.hang("receiver.example")

    assert resolver.addresses_of("receiver.example", organization=OURS) is None
    clock.now += 1
    assert resolver.addresses_of("receiver.example", organization=OURS) == ADDRESSES
    clock.now += STALE_SECONDS - FRESH_SECONDS - 2
    assert resolver.addresses_of("receiver.example", organization=OURS) == ADDRESSES
    clock.now += 1
    assert resolver.addresses_of("receiver.example", organization=OURS) is None
    lookups.wait_for(2)
    assert lookups.counts == Counter({"receiver.example": 2})


def test_the_last_addresses_are_used_while_lookups_fail(resolver: Resolver, lookups: Lookups, clock: Clock) -> None:
    resolve(resolver)
    clock.now += FRESH_SECONDS
    lookups.error = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    assert resolve(resolver) == ADDRESSES
    clock.now += FAILED_SECONDS
    # The next lookup is not waited for, because the last one failed.
    assert resolver.addresses_of("receiver.example", organization=OURS) == ADDRESSES
    settle(resolver, "receiver.example")
    clock.now += STALE_SECONDS
    assert resolve(resolver) == ()


def test_a_name_that_is_gone_has_no_addresses_any_more(resolver: Resolver, lookups: Lookups, clock: Clock) -> None:
    resolve(resolver)
    clock.now += FRESH_SECONDS
    lookups.error = socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    assert resolve(resolver) == ()


@pytest.mark.parametrize("number", [socket.EAI_NONAME, socket.EAI_AGAIN])
def test_a_failure_is_remembered_for_a_few_seconds(
    resolver: Resolver, lookups: Lookups, clock: Clock, number: int
) -> None:
    lookups.error = socket.gaierror(number, "no")
    assert resolve(resolver) == ()
    clock.now += FAILED_SECONDS - 0.1
    assert resolver.addresses_of("receiver.example", organization=OURS) == ()
    lookups.error = None
    clock.now += 0.1

    assert resolve(resolver) == ADDRESSES
    assert lookups.counts["receiver.example"] == 2


def test_an_unexpected_error_fails_the_lookup(clock: Clock) -> None:
    def break_down(_: str) -> tuple[str, ...]:
        raise ValueError

    assert resolve(Resolver(break_down, clock=clock)) == ()


def test_a_thread_that_the_system_refuses_fails_the_lookup(
    resolver: Resolver, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(_thread, "start_new_thread", refuse)
        assert resolver.addresses_of("receiver.example", organization=OURS) is None
    assert resolver.addresses_of("receiver.example", organization=OURS) == ()
    clock.now += FAILED_SECONDS

    assert resolve(resolver) == ADDRESSES


def test_names_that_hang_do_not_delay_another_organization(resolver: Resolver, lookups: Lookups) -> None:
    begun = begin_hanging(resolver, lookups, 100, organization=OURS)

    assert resolve(resolver, organization=THEIRS) == ADDRESSES
    assert len(begun) == 13


def test_many_organizations_with_names_that_hang_leave_threads_for_others(resolver: Resolver, lookups: Lookups) -> None:
    begun = [begin_hanging(resolver, lookups, 20, organization=100 + number) for number in range(40)]

    assert resolve(resolver, organization=OURS) == ADDRESSES
    assert all(begun)
    assert sum(map(len, begun)) < MAX_LOOKUPS


def test_a_lookup_counts_until_its_thread_ends(resolver: Resolver, lookups: Lookups, clock: Clock) -> None:
    begun = begin_hanging(resolver, lookups, 20, organization=OURS)
    clock.now += 60
    assert resolver.addresses_of("another.example", organization=OURS) is None
    assert not resolver.is_looking_up("another.example")

    lookups.answer(begun[0])
    settle(resolver, begun[0])

    assert resolve(resolver, "another.example") == ADDRESSES


def test_names_that_were_slow_leave_places_to_other_names_of_their_organization(
    resolver: Resolver, lookups: Lookups, clock: Clock
) -> None:
    slow = begin_hanging(resolver, lookups, 20, organization=OURS)
    lookups.error = socket.gaierror(socket.EAI_AGAIN, "no")
    clock.now += 10
    lookups.answer(*slow)
    for host in slow:
        settle(resolver, host)
        assert resolver.addresses_of(host, organization=OURS) == ()
    lookups.error = None
    clock.now += FAILED_SECONDS
    lookups.hang(*slow)
    for host in slow:
        resolver.addresses_of(host, organization=OURS)

    assert sum(resolver.is_looking_up(host) for host in slow) == 8
    assert resolve(resolver, "healthy.example") == ADDRESSES


def test_a_name_that_another_organization_waits_for_in_line_is_looked_up_at_once(
    resolver: Resolver, lookups: Lookups
) -> None:
    begin_hanging(resolver, lookups, 20, organization=OURS)
    assert resolver.addresses_of("shared.example", organization=OURS) is None

    assert resolve(resolver, "shared.example", organization=THEIRS) == ADDRESSES
    assert resolver.addresses_of("shared.example", organization=OURS) == ADDRESSES


def test_only_the_names_used_last_are_remembered(
    resolver: Resolver, lookups: Lookups, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One of them is that of `settle`.
    monkeypatch.setattr(resolving, "MAX_NAMES", 4)
    (hanging,) = begin_hanging(resolver, lookups, 1, organization=OURS)
    for host in ("a.example", "b.example", "a.example", "c.example"):
        resolve(resolver, host)

    assert resolver.is_looking_up(hanging)
    assert resolver.addresses_of("a.example", organization=OURS) == ADDRESSES
    assert resolver.addresses_of("b.example", organization=OURS) is None


def test_a_name_with_very_many_addresses_keeps_the_first_ones(resolver: Resolver, lookups: Lookups) -> None:
    lookups.addresses = tuple(f"192.0.2.{number}" for number in range(200))

    assert resolve(resolver) == lookups.addresses[: resolving.MAX_ADDRESSES]


@pytest.mark.parametrize(
    ("found", "addresses"),
    [
        ([("192.0.2.1", 0), ("192.0.2.1", 0)], ("192.0.2.1",)),
        ([("2001:db8::1", 0, 0, 0), ("192.0.2.1", 0)], ("2001:db8::1", "192.0.2.1")),
        ([("fe80::1%eth0", 0, 0, 2)], ("fe80::1",)),
    ],
    ids=["the same twice", "both families", "with a zone"],
)
def test_the_system_is_asked_for_addresses(
    monkeypatch: pytest.MonkeyPatch, found: list[tuple[str | int, ...]], addresses: tuple[str, ...]
) -> None:
    answer = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", peer) for peer in found]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: answer)

    assert resolving.look_up_addresses("receiver.example") == addresses
