"""Attempts do not count as failures while our own way to all receivers is gone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta

import pytest

from commands_platform.lib import clock as database_clock
from deliveries import way_out
from deliveries.lanes import LaneSettings
from deliveries.models import AttemptError, Delivery, State
from deliveries.sender import Sender
from deliveries.way_out import MIN_HOSTS, REMEMBERED_SECONDS, WayOut, host_of
from organizations.models import Command
from outbound.address_guard import origin_of
from tests.clocks import Clock
from tests.deliveries.senders import make_sender
from tests.factories import make_command, make_delivery
from tests.receiver import Answer, Receiver

HOSTS = [f"receiver-{number}.test" for number in range(MIN_HOSTS)]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def way(clock: Clock) -> WayOut:
    return WayOut(clock=clock)


def answer(way: WayOut, *hosts: str) -> None:
    for host in hosts:
        way.note_answer(host)


def fail(way: WayOut, *hosts: str) -> None:
    for host in hosts:
        way.note_failure(host)


def test_the_way_is_gone_if_several_hosts_that_answered_fail_and_none_answers(way: WayOut) -> None:
    answer(way, *HOSTS)

    fail(way, *HOSTS[:-1])
    assert not way.is_gone
    fail(way, HOSTS[-1])

    assert way.is_gone


def test_one_host_that_fails_again_and_again_is_no_evidence(way: WayOut) -> None:
    answer(way, *HOSTS)

    fail(way, *[HOSTS[0]] * 10)

    assert not way.is_gone


def test_hosts_that_were_down_before_are_no_evidence(way: WayOut) -> None:
    answer(way, "healthy.test")

    fail(way, *HOSTS)

    assert not way.is_gone


def test_hosts_that_fail_one_after_the_other_while_others_answer_are_no_evidence(way: WayOut) -> None:
    answer(way, *HOSTS)

    for host in HOSTS:
        fail(way, host, host)
        answer(way, "healthy.test")

    fail(way, *HOSTS)
    assert not way.is_gone


def test_one_answer_shows_that_the_way_is_back(way: WayOut) -> None:
    answer(way, *HOSTS, "another.test")
    fail(way, *HOSTS)

    assert way.note_answer("another.test") == frozenset(HOSTS)

    assert not way.is_gone
    assert way.note_answer("another.test") == frozenset()


def test_receivers_that_stay_away_are_given_up_in_the_end(way: WayOut, clock: Clock) -> None:
    answer(way, *HOSTS)
    fail(way, *HOSTS)

    clock.now += REMEMBERED_SECONDS

    assert not way.is_gone


def test_a_host_whose_answer_is_long_ago_is_no_evidence(way: WayOut, clock: Clock) -> None:
    answer(way, *HOSTS)
    clock.now += REMEMBERED_SECONDS
    answer(way, "healthy.test")

    fail(way, *HOSTS)

    assert not way.is_gone


def test_only_the_latest_hosts_are_remembered(way: WayOut, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(way_out, "MAX_HOSTS", 2)
    answer(way, *HOSTS)

    fail(way, *HOSTS)

    assert not way.is_gone


def test_ports_of_one_host_are_one_host() -> None:
    assert host_of("https://a.test:8443") == host_of("http://a.test:80") == "a.test"
    assert host_of("") == ""


class Site:
    """Receivers under several names, which can all be switched off."""

    def __init__(self) -> None:
        self.command: Command = make_command()
        self._stack = ExitStack()
        receivers = [self._stack.enter_context(Receiver()) for _ in HOSTS]
        for receiver in receivers:
            # A connection that stays open would be answered even after its server has been closed.
            receiver.always_answer(lambda _: Answer(headers=(("Connection", "close"),)))
        self.sender = make_sender(look_up=lambda _host: ("127.0.0.1",), lanes=LaneSettings(failures=2))
        self.urls = [
            f"http://{host}:{port}/" for host, port in zip(HOSTS, (each.port for each in receivers), strict=True)
        ]

    def close(self) -> None:
        self._stack.close()

    def send_to_all(self, **values: object) -> list[Delivery]:
        rows = [make_delivery(self.command, url=url, origin=origin_of(url), **values) for url in self.urls]
        self.sender.drain()
        for row in rows:
            row.refresh_from_db()
        return rows


@pytest.fixture
def site(transactional_db: None) -> Iterator[Site]:
    running = Site()
    yield running
    running.close()


def test_attempts_that_fail_while_no_receiver_can_be_reached_do_not_count(site: Site) -> None:
    site.send_to_all()
    site.close()

    rows = site.send_to_all(max_attempts=1)

    assert {(row.state, row.attempt_count, len(row.attempts)) for row in rows} == {(State.PENDING, 0, 0)}
    now = database_clock.now()
    assert all(row.next_attempt_at and now < row.next_attempt_at < now + timedelta(seconds=6) for row in rows)


def test_receivers_that_are_down_from_the_beginning_fail_as_usual(site: Site) -> None:
    site.close()

    rows = site.send_to_all(max_attempts=1)

    assert {(row.state, row.attempts[0].error) for row in rows} == {(State.FAILED, AttemptError.REFUSED)}


def test_receivers_that_fail_beside_one_that_answers_fail_as_usual(site: Site) -> None:
    site.send_to_all()
    site.close()
    with Receiver() as healthy:
        url = f"http://healthy.test:{healthy.port}/"
        rows = []
        for url_of_row in site.urls:
            rows.append(make_delivery(site.command, url=url_of_row, origin=origin_of(url_of_row), max_attempts=1))
            site.sender.drain()
            make_delivery(site.command, url=url, origin=origin_of(url))
            site.sender.drain()

    for row in rows:
        row.refresh_from_db()
    assert {row.state for row in rows} == {State.FAILED}


def test_breakers_close_as_soon_as_the_way_is_back(site: Site) -> None:
    site.send_to_all()
    site.close()
    for _ in range(3):
        site.send_to_all()
    sender: Sender = site.sender
    assert len(sender._lanes.paused()) == len(HOSTS)
    with Receiver() as back:
        url = f"http://back.test:{back.port}/"
        make_delivery(site.command, url=url, origin=origin_of(url))

        sender.drain()

    assert sender._lanes.paused() == {}


def test_a_request_that_may_have_arrived_is_recorded_as_interrupted(site: Site) -> None:
    """It counts as an attempt, but not as a failure, even if it was the last attempt."""
    site.send_to_all()
    site.close()
    site.send_to_all()
    with Receiver() as silent:
        silent.answer_with(Answer(delay=10))
        url = f"http://silent.test:{silent.port}/"
        delivery = make_delivery(site.command, url=url, origin=origin_of(url), max_attempts=1, timeout=1)

        site.sender.drain()

    delivery.refresh_from_db()
    assert [attempt.error for attempt in delivery.attempts] == [AttemptError.INTERRUPTED]
    assert (delivery.state, delivery.attempt_count) == (State.PENDING, 1)
