"""A walk over the lanes: it finds each lane, and lanes of every organization in each portion."""

from __future__ import annotations

import pytest

from commands_platform.lib import clock
from deliveries import walk
from deliveries.lanes import Lane
from deliveries.models import Delivery
from deliveries.walk import LaneWalk
from organizations.models import Command
from tests.factories import make_command, make_delivery

pytestmark = pytest.mark.django_db

QUIET = "http://quiet:80"


@pytest.fixture(autouse=True)
def _small_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk, "_LANES_AT_ONCE", 8)


def make_lanes(count: int, command: Command) -> list[Lane]:
    for number in range(count):
        make_delivery(command, origin=f"http://many-{number:02}:80", next_attempt_at=clock.now())
    return [Lane(command.organization_id, f"http://many-{number:02}:80") for number in range(count)]


def make_quiet_lane() -> Lane:
    delivery = make_delivery(make_command(), origin=QUIET, next_attempt_at=clock.now())
    return Lane(delivery.organization_id, QUIET)


def next_portion(lanes: LaneWalk) -> list[Lane]:
    lanes.read_on()
    return list(iter(lanes.next_lane, None))


def portions_of(lanes: LaneWalk) -> list[list[Lane]]:
    """Returns the portions of a whole walk."""
    lanes.begin()
    portions = [next_portion(lanes)]
    while lanes.is_under_way:
        portions.append(next_portion(lanes))
    return portions


def test_each_portion_has_lanes_of_every_organization() -> None:
    many, quiet = make_lanes(15, make_command()), make_quiet_lane()

    portions = portions_of(LaneWalk())

    assert [quiet in portion for portion in portions] == [True] * 4
    assert [lane for portion in portions for lane in portion if lane != quiet] == many


def test_a_walk_ends_when_every_organization_was_read_to_its_end() -> None:
    few, many = make_lanes(5, make_command()), make_lanes(13, make_command())

    portions = portions_of(LaneWalk())

    assert {lane for portion in portions for lane in portion} == {*few, *many}
    assert len(portions) == 4


def test_a_walk_over_more_organizations_than_a_portion_has_finds_all_their_lanes() -> None:
    lanes = [lane for _ in range(12) for lane in make_lanes(6, make_command())]

    portions = portions_of(LaneWalk())

    assert {lane for portion in portions for lane in portion} == set(lanes)


def test_a_walk_ends_although_an_organization_has_nothing_left() -> None:
    make_lanes(12, make_command())
    make_quiet_lane()
    lanes = LaneWalk()
    lanes.begin()
    next_portion(lanes)
    Delivery.objects.exclude(origin=QUIET).delete()

    next_portion(lanes)

    assert not lanes.is_under_way


def test_lanes_that_are_put_back_come_first() -> None:
    many = make_lanes(6, make_command())
    lanes = LaneWalk()
    lanes.begin()
    first, second = lanes.next_lane(), lanes.next_lane()
    assert (first, second) == (many[0], many[1])

    lanes.put_back(many[:2])

    assert next_portion(lanes) == many
