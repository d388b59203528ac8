"""Looks at the queue begin at its floor, so that entries of rows that have left are not read again."""

from __future__ import annotations

from datetime import timedelta

import pytest

from commands_platform.lib import clock
from deliveries import floor, queue
from deliveries.floor import set_floor
from deliveries.lanes import Lane
from deliveries.models import Delivery
from organizations.models import Command
from tests.factories import make_command, make_delivery

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("floor_of_its_own")]

LEASE = timedelta(minutes=1)


@pytest.fixture
def command() -> Command:
    return make_command()


def claimed() -> list[Delivery]:
    return [Delivery.objects.get(pk=claim.id) for claim in queue.claim(limit=10, lease=LEASE)]


@pytest.mark.parametrize("age", [timedelta(seconds=1), timedelta(minutes=1), timedelta(days=300)])
def test_the_oldest_delivery_is_above_the_floor_however_old_it_is(command: Command, age: timedelta) -> None:
    delivery = make_delivery(command, next_attempt_at=clock.now() - age)

    set_floor()

    assert claimed() == [delivery]


def test_a_delivery_that_is_being_sent_keeps_the_floor_down(command: Command) -> None:
    delivery = make_delivery(command, next_attempt_at=clock.now() - timedelta(minutes=1))
    (claim,) = queue.claim(limit=1, lease=LEASE)
    set_floor()

    Delivery.objects.filter(pk=claim.id).update(lease=None, leased_until=None)

    assert claimed() == [delivery]


def test_looks_do_not_read_below_the_floor(command: Command) -> None:
    set_floor()
    late = make_delivery(command, next_attempt_at=clock.now() - timedelta(minutes=1))
    lane = Lane(late.organization_id, late.origin)

    assert claimed() == []
    assert queue.claim(limit=10, lease=LEASE, of={lane: 10}) == []
    assert queue.count_due(most=10) == 0
    assert queue.waiting_lanes(limit=10).lanes == []

    floor._process_pace.cache_clear()
    set_floor()

    assert claimed() == [late]


def test_the_floor_follows_a_clock_that_steps_back(command: Command) -> None:
    set_floor()
    then = clock.now() - timedelta(hours=1)
    with clock.replaced_by(lambda: then):
        floor._process_pace.cache_clear()
        set_floor()
        delivery = make_delivery(command, next_attempt_at=then)

        assert claimed() == [delivery]
