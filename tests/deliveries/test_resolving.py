"""The sender resolves names itself, and names whose lookup hangs delay no other receiver."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest

from commands_platform.lib import clock
from deliveries.models import Delivery, Reason, State
from deliveries.sender import Sender
from harness.platform import wait_until
from organizations.models import Command
from outbound.address_guard import AddressGuard, origin_of
from outbound.resolver import MAX_LOOKUPS
from tests.deliveries.senders import due_again, make_sender, run_until
from tests.factories import make_command, make_delivery
from tests.outbound.lookups import Lookups
from tests.raw_receiver import RawReceiver
from tests.receiver import Receiver

pytestmark = pytest.mark.django_db(transaction=True)

# No name server knows a name in this domain (RFC 6761).
HOST = "receiver.test"


@pytest.fixture
def lookups() -> Iterator[Lookups]:
    with Lookups(("127.0.0.1",)) as running:
        yield running


@contextmanager
def running(sender: Sender, lookups: Lookups) -> Iterator[None]:
    """Lets the sender work in a thread for as long as the block runs. Then no lookup hangs any more."""
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(0.01):
            run_until(sender, stop)

    runner = threading.Thread(target=run)
    runner.start()
    try:
        yield
    finally:
        lookups.answer_all()
        stop.set()
        runner.join()


def forget_names(sender: Sender) -> None:
    """Makes the sender look up every name again."""
    resolver = sender._resolving._resolver
    assert resolver is not None
    resolver._names.clear()


def make_named(port: int, command: Command | None = None, *, host: str = HOST, **values: object) -> Delivery:
    url = f"http://{host}:{port}/callback"
    return make_delivery(command, url=url, origin=origin_of(url), **values)


def make_hanging(lookups: Lookups, command: Command, *, number: int, **values: object) -> list[Delivery]:
    """Makes deliveries to that many names whose lookup hangs."""
    hosts = [f"hangs-{index}.test" for index in range(number)]
    lookups.hang(*hosts)
    return [make_named(9, command, host=host, **values) for host in hosts]


def attempt_of(delivery: Delivery) -> dict[str, object]:
    """Returns its only attempt."""
    delivery.refresh_from_db()
    (attempt,) = delivery.attempts
    return attempt.shown()


def test_libcurl_is_told_the_addresses_of_a_name(receiver: Receiver, lookups: Lookups) -> None:
    sender = make_sender(look_up=lookups)
    delivery = make_named(receiver.port)

    sender.drain()

    assert attempt_of(delivery)["address"] == "127.0.0.1"
    assert delivery.state == State.DELIVERED
    assert receiver.requests[0].headers["host"] == f"{HOST}:{receiver.port}"


def test_all_addresses_of_a_name_are_tried(receiver: Receiver, lookups: Lookups) -> None:
    """The first one is refused, and nothing listens at the second one."""
    lookups.addresses = ("::1", "127.0.0.2", "127.0.0.1")
    delivery = make_named(receiver.port)

    make_sender(look_up=lookups).drain()

    assert attempt_of(delivery)["address"] == "127.0.0.1"
    assert delivery.state == State.DELIVERED


def test_the_address_guard_judges_the_addresses_of_a_name(receiver: Receiver, lookups: Lookups) -> None:
    delivery = make_named(receiver.port)

    make_sender(look_up=lookups, guard=AddressGuard()).drain()

    assert attempt_of(delivery)["error"] == "blocked_address"
    assert (delivery.state, delivery.reason) == (State.FAILED, Reason.BLOCKED_ADDRESS)
    assert receiver.requests == []


def test_a_literal_address_is_not_looked_up(receiver: Receiver, lookups: Lookups) -> None:
    make_named(receiver.port, host="127.0.0.1")

    make_sender(look_up=lookups).drain()

    assert len(receiver.requests) == 1
    assert not lookups.counts


def test_a_name_without_addresses_fails_the_attempt(lookups: Lookups) -> None:
    lookups.error = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    first, second = make_named(9), make_named(9)

    make_sender(look_up=lookups).drain()

    for delivery in (first, second):
        attempt = attempt_of(delivery)
        assert delivery.state == State.PENDING
        assert (attempt["error"], attempt["message"]) == ("dns", "The host name could not be resolved.")
        assert (attempt["status"], attempt["address"], attempt["response"]) == (None, None, "")
    assert lookups.counts[HOST] == 1


def test_a_lookup_that_hangs_fails_the_attempt_at_its_timeout(lookups: Lookups) -> None:
    lookups.hang(HOST)
    delivery = make_named(9)

    make_sender(look_up=lookups, timeout=timedelta(seconds=0.3)).drain()

    attempt = attempt_of(delivery)
    assert delivery.state == State.PENDING
    assert (attempt["error"], attempt["message"]) == ("dns", "The host name could not be resolved in time.")
    assert attempt["dns_ms"] == attempt["total_ms"]
    assert isinstance(attempt["total_ms"], float)
    assert attempt["total_ms"] >= 300


def test_the_time_of_a_lookup_is_recorded(receiver: Receiver, lookups: Lookups) -> None:
    lookups.hang(HOST)
    delivery = make_named(receiver.port)
    with running(make_sender(look_up=lookups), lookups):
        lookups.wait_for(1)
        time.sleep(0.2)
        lookups.answer(HOST)
        receiver.wait_for(1)

    attempt = attempt_of(delivery)
    assert isinstance(attempt["dns_ms"], float)
    assert isinstance(attempt["total_ms"], float)
    assert 200 <= attempt["dns_ms"] < attempt["total_ms"]


def test_names_that_hang_do_not_delay_another_organization(receiver: Receiver, lookups: Lookups) -> None:
    """There are more of them than threads, and all were due first."""
    hanging = make_hanging(
        lookups, make_command(), number=MAX_LOOKUPS + 10, now=clock.now() - timedelta(seconds=1), timeout=30
    )
    command = make_command()
    for _ in range(20):
        make_named(receiver.port, command)

    with running(make_sender(look_up=lookups), lookups):
        receiver.wait_for(20)
        assert not any(delivery.attempts for delivery in Delivery.objects.filter(pk__in=[each.pk for each in hanging]))
    assert {row.state for row in Delivery.objects.filter(command=command)} == {State.DELIVERED}


def test_a_known_name_of_the_same_organization_is_not_delayed(receiver: Receiver, lookups: Lookups) -> None:
    command = make_command()
    sender = make_sender(look_up=lookups)
    make_named(receiver.port, command)
    sender.drain()
    make_hanging(lookups, command, number=MAX_LOOKUPS, now=clock.now() - timedelta(seconds=1), timeout=30)
    make_named(receiver.port, command)

    with running(sender, lookups):
        receiver.wait_for(2)


def test_an_attempt_whose_lookup_never_began_does_not_count(receiver: Receiver, lookups: Lookups) -> None:
    """All threads of its organization hang. When they end, the callback is sent."""
    command = make_command()
    make_hanging(lookups, command, number=20, now=clock.now() - timedelta(seconds=1))
    leases = set()
    with running(make_sender(look_up=lookups, window=100, timeout=timedelta(seconds=0.3)), lookups):
        lookups.wait_for(13)
        delivery = make_named(receiver.port, command)

        def was_claimed_twice() -> bool:
            delivery.refresh_from_db()
            leases.add(delivery.lease)
            return len(leases - {None}) >= 2

        wait_until(was_claimed_twice)
        lookups.answer_all()
        receiver.wait_for(1)

    assert attempt_of(delivery)["number"] == 1
    assert delivery.state == State.DELIVERED


def test_a_sender_that_is_told_to_stop_releases_claims_that_wait_for_a_name(
    lookups: Lookups, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deliveries.sender._STOP_WITHIN_SECONDS", 0.1)
    lookups.hang(HOST)
    delivery = make_named(9, body='{"text":"' + "x" * 50_000 + '"}')
    stop = threading.Event()
    runner = threading.Thread(target=run_until, args=(make_sender(look_up=lookups), stop))
    runner.start()
    lookups.wait_for(1)

    stop.set()
    runner.join()

    delivery.refresh_from_db()
    assert (delivery.state, delivery.lease, delivery.attempt_count) == (State.PENDING, None, 0)


def test_a_connection_is_reused_after_the_addresses_of_its_name_have_changed(lookups: Lookups) -> None:
    def answer_each(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
        while connection.recv(65536):
            connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    with RawReceiver(answer_each) as receiver:
        sender = make_sender(look_up=lookups, window=1)
        for addresses in (("127.0.0.1",), ("127.0.0.2", "127.0.0.1")):
            lookups.addresses = addresses
            make_named(receiver.port)
            sender.drain()
            forget_names(sender)

        assert len(receiver.requests) == 1
    assert {row.state for row in Delivery.objects.all()} == {State.DELIVERED}


def test_a_name_that_failed_is_looked_up_again_on_a_retry(receiver: Receiver, lookups: Lookups) -> None:
    sender = make_sender(look_up=lookups)
    lookups.error = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
    delivery = make_named(receiver.port)
    sender.drain()
    forget_names(sender)
    lookups.error = None
    due_again(delivery)

    sender.drain()

    delivery.refresh_from_db()
    assert [attempt.error for attempt in delivery.attempts] == ["dns", None]
    assert delivery.state == State.DELIVERED
