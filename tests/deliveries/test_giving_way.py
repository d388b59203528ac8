"""Around a whole second, lanes that are late anyway give way to slots of other organizations that are due then."""

from __future__ import annotations

from datetime import timedelta

import pytest

from commands_platform.lib import clock
from deliveries import intake
from deliveries.intake import Intake
from deliveries.lanes import Lane, Lanes, LaneSettings
from deliveries.models import Delivery
from tests.factories import make_command, make_delivery

pytestmark = pytest.mark.django_db

LATE, OTHER = "http://late:80", "http://other:80"


@pytest.fixture
def lanes() -> Lanes:
    return Lanes(LaneSettings(first=5), window=20)


@pytest.fixture
def late(lanes: Lanes) -> Lane:
    """Returns a lane with a backlog that is a minute old."""
    command = make_command()
    lane = Lane(command.organization_id, LATE)
    for _ in range(100):
        make_delivery(command, origin=LATE, now=clock.now() - timedelta(minutes=1))
    lanes.begin(lane)
    lanes.end(lane, is_answered=True)
    lanes.mark_busy(lane)
    return lane


@pytest.fixture
def claimed(lanes: Lanes, late: Lane, monkeypatch: pytest.MonkeyPatch) -> Intake:
    """Returns an intake that knows how late the lane is, at the beginning of a rush."""
    claimed = Intake(lanes, window=20, lease=timedelta(seconds=60))
    set_rush(monkeypatch, seconds=0.0)
    claimed._claim_of_busy_lanes()
    assert late in claimed._behind
    set_rush(monkeypatch, seconds=0.05)
    return claimed


def set_rush(monkeypatch: pytest.MonkeyPatch, *, seconds: float) -> None:
    monkeypatch.setattr(intake, "rush_left", lambda: seconds)


def begun_of(claimed: Intake) -> set[str]:
    return {claim.origin for claim in claimed.next_claims(lambda: 0)}


def test_a_late_lane_gives_way_to_an_organization_with_something_to_send(claimed: Intake, lanes: Lanes) -> None:
    make_delivery(make_command(), origin=OTHER)
    claimed.look_at_once()

    claimed.claim(idle=20, in_flight=1)

    assert begun_of(claimed) == {OTHER}


def test_nothing_is_claimed_for_a_late_lane_that_gives_way(claimed: Intake, lanes: Lanes, late: Lane) -> None:
    claimed.give_up()
    free = Delivery.objects.filter(lease=None).count()
    lanes.note_active([late.organization_id + 1])

    claimed._claim_of_busy_lanes()

    assert claimed.is_giving_way()
    assert Delivery.objects.filter(lease=None).count() == free


@pytest.mark.parametrize("has_others", [False, True], ids=["alone", "after the rush"])
def test_a_late_lane_that_need_not_give_way_is_sent(
    claimed: Intake, lanes: Lanes, late: Lane, monkeypatch: pytest.MonkeyPatch, has_others: bool
) -> None:
    if has_others:
        lanes.note_active([late.organization_id + 1])
        set_rush(monkeypatch, seconds=0.0)

    assert not claimed.is_giving_way()
    assert begun_of(claimed) == {LATE}
