"""The share of a lane in the sender, and its breaker, on a clock that the tests control."""

from __future__ import annotations

import pytest

from deliveries.lanes import Lane, Lanes, LaneSettings
from tests.clocks import Clock

SETTINGS = LaneSettings(most=20, first=8, failures=3, first_pause=5, longest_pause=12)
HANGING, HEALTHY = Lane(1, "http://hanging:80"), Lane(1, "http://healthy:80")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lanes(clock: Clock) -> Lanes:
    return Lanes(SETTINGS, clock=clock)


def send(lanes: Lanes, lane: Lane, *answers: bool) -> list[bool]:
    opened = []
    for is_answered in answers:
        lanes.begin(lane)
        opened.append(lanes.end(lane, is_answered=is_answered))
    return opened


def test_a_new_lane_begins_with_a_small_share(lanes: Lanes) -> None:
    assert lanes.room(HEALTHY) == 8


def test_requests_in_flight_take_room(lanes: Lanes) -> None:
    for _ in range(8):
        lanes.begin(HEALTHY)

    assert lanes.room(HEALTHY) == 0
    lanes.abandon(HEALTHY)
    assert lanes.room(HEALTHY) == 1


def test_answers_make_the_share_grow_up_to_its_limit(lanes: Lanes) -> None:
    send(lanes, HEALTHY, *[True] * 50)

    assert lanes.room(HEALTHY) == 20


def test_a_missing_answer_halves_the_share(lanes: Lanes) -> None:
    send(lanes, HANGING, False)

    assert lanes.room(HANGING) == 4


def test_only_failures_in_a_row_open_the_breaker(lanes: Lanes) -> None:
    assert send(lanes, HANGING, False, False, True, False, False) == [False] * 5
    assert lanes.room(HANGING) > 0
    assert send(lanes, HANGING, False) == [True]
    assert lanes.room(HANGING) == 0


def test_an_open_breaker_affects_only_its_lane(lanes: Lanes) -> None:
    send(lanes, HANGING, False, False, False)

    assert lanes.room(HEALTHY) == 8
    assert lanes.busy() == [HANGING]
    assert lanes.paused() == {HANGING: 5.0}


def test_after_the_pause_one_request_at_a_time_may_begin(lanes: Lanes, clock: Clock) -> None:
    send(lanes, HANGING, False, False, False)

    clock.now += 5
    assert lanes.room(HANGING) == 1
    assert not lanes.paused()
    lanes.begin(HANGING)
    assert lanes.room(HANGING) == 0


def test_a_probe_without_an_answer_makes_the_pause_longer_up_to_a_limit(lanes: Lanes, clock: Clock) -> None:
    send(lanes, HANGING, False, False, False)
    pauses = []

    for _ in range(3):
        clock.now += lanes.paused()[HANGING]
        assert send(lanes, HANGING, False) == [False]
        pauses.append(lanes.paused()[HANGING])

    assert pauses == [10, 12, 12]


def test_an_answer_closes_the_breaker(lanes: Lanes, clock: Clock) -> None:
    send(lanes, HANGING, False, False, False)
    clock.now += 5

    send(lanes, HANGING, True)

    assert lanes.room(HANGING) >= 1
    assert not lanes.paused()
    send(lanes, HANGING, False, False)
    assert not lanes.paused()


def test_a_lane_is_forgotten_some_time_after_its_last_use(lanes: Lanes, clock: Clock) -> None:
    send(lanes, HANGING, False)

    clock.now += SETTINGS.remembered - 1
    lanes.mark_busy(HANGING)
    assert lanes.room(HANGING) == 4

    clock.now += 2
    lanes.mark_busy(HANGING)
    assert lanes.room(HANGING) == 8


def test_a_request_in_flight_when_the_breaker_opened_is_not_a_probe(lanes: Lanes) -> None:
    for _ in range(5):
        lanes.begin(HANGING)

    opened = [lanes.end(HANGING, is_answered=False) for _ in range(5)]

    assert opened == [False, False, True, False, False]
    assert lanes.paused() == {HANGING: 5.0}


def test_a_429_halves_the_share(lanes: Lanes) -> None:
    lanes.slow_down(HEALTHY, hold=0)

    assert lanes.room(HEALTHY) == 4
    assert lanes.paused() == {}


def test_no_request_begins_while_a_lane_asks_us_to_wait(lanes: Lanes, clock: Clock) -> None:
    lanes.begin(HEALTHY)
    lanes.slow_down(HEALTHY, hold=30)
    lanes.slow_down(HEALTHY, hold=10)

    assert lanes.room(HEALTHY) == 0
    assert not lanes.is_proven(HEALTHY)
    assert lanes.paused() == {HEALTHY: 30}
    lanes.end(HEALTHY, is_answered=True)
    assert lanes.room(HEALTHY) == 0
    clock.now += 30
    assert lanes.room(HEALTHY) == 3
    assert lanes.is_proven(HEALTHY)
    assert lanes.paused() == {}


def test_the_number_of_remembered_lanes_is_limited(clock: Clock) -> None:
    lanes = Lanes(LaneSettings(first=8, max_remembered=100), clock=clock)
    lanes.begin(Lane(1, "http://in-flight:80"))

    for number in range(1000):
        lane = Lane(1, f"http://{number}:80")
        send(lanes, lane, False)
        lanes.mark_busy(lane)
        lanes.room(Lane(1, f"http://only-asked-about-{number}:80"))

    assert len(lanes) == 100
    assert len(lanes.busy()) < 100
    assert (lanes.room(Lane(1, "http://in-flight:80")), lanes.room(Lane(1, "http://999:80"))) == (7, 4)
    assert lanes.room(Lane(1, "http://0:80")) == 8


def test_a_lane_with_requests_in_flight_is_never_forgotten(clock: Clock) -> None:
    lanes = Lanes(LaneSettings(max_remembered=3), clock=clock)
    for number in range(10):
        lanes.begin(Lane(1, f"http://{number}:80"))

    for number in range(10):
        lanes.end(Lane(1, f"http://{number}:80"), is_answered=True)
    lanes.begin(HEALTHY)

    assert lanes.room(Lane(1, "http://5:80")) > 0


def fill(lanes: Lanes, *filled: Lane) -> int:
    """Begins as many requests in each lane as there is room for. Returns their number."""
    begun = 0
    for lane in filled:
        for _ in range(lanes.room(lane)):
            lanes.begin(lane)
            begun += 1
    return begun


def hanging_lanes(count: int, *, organization_id: int = 1) -> list[Lane]:
    return [Lane(organization_id, f"http://hanging-{number}:80") for number in range(count)]


def make_proven(lanes: Lanes, lane: Lane) -> None:
    send(lanes, lane, *[True] * 50)


def make_proven_lanes(lanes: Lanes) -> list[Lane]:
    """Returns four lanes of one organization. Together they could use twice the window."""
    own = [Lane(1, f"http://{number}:80") for number in range(4)]
    for lane in own:
        make_proven(lanes, lane)
    return own


def test_two_organizations_at_one_origin_have_breakers_of_their_own(lanes: Lanes) -> None:
    other = Lane(2, HANGING.origin)

    send(lanes, HANGING, False, False, False)

    assert lanes.room(HANGING) == 0
    assert lanes.room(other) == 8
    assert lanes.paused() == {HANGING: 5.0}


def test_two_organizations_at_one_origin_share_the_limit_of_the_origin(clock: Clock) -> None:
    lanes = Lanes(SETTINGS, window=1000, clock=clock)
    first, second = Lane(1, HEALTHY.origin), Lane(2, HEALTHY.origin)
    for lane in (first, second):
        make_proven(lanes, lane)

    assert fill(lanes, first) == 20
    assert lanes.room(second) == 0
    lanes.end(first, is_answered=True)
    assert lanes.room(second) == 1


def test_lanes_that_have_not_answered_leave_a_quarter_of_the_window_free(lanes: Lanes) -> None:
    healthy = Lane(99, HEALTHY.origin)
    make_proven(lanes, healthy)

    begun = fill(lanes, *(lane for number in range(30) for lane in hanging_lanes(20, organization_id=number)))

    assert begun <= 75
    assert lanes.room(healthy) > 0


def test_however_many_lanes_hang_another_organization_finds_a_place_at_once(lanes: Lanes) -> None:
    begun = fill(lanes, *hanging_lanes(300))

    assert begun <= 25
    assert lanes.room(Lane(2, HANGING.origin)) > 0


def test_however_many_lanes_have_failed_a_new_lane_of_their_organization_finds_a_place(lanes: Lanes) -> None:
    hanging = hanging_lanes(300)
    for lane in hanging:
        send(lanes, lane, False)

    begun = fill(lanes, *hanging)

    assert 1 < begun <= 13
    assert lanes.room(HEALTHY) > 0


def test_an_organization_alone_may_use_almost_the_whole_window(clock: Clock) -> None:
    lanes = Lanes(LaneSettings(most=50), window=100, clock=clock)
    own = make_proven_lanes(lanes)

    assert fill(lanes, *own) == 95


def test_organizations_with_something_to_send_share_the_window_equally(clock: Clock) -> None:
    lanes = Lanes(LaneSettings(most=50), window=100, clock=clock)
    own = make_proven_lanes(lanes)
    other = Lane(2, HEALTHY.origin)
    make_proven(lanes, other)
    assert fill(lanes, *own) > 50

    assert lanes.room(other) == 50
    fill(lanes, other)
    for lane in own:
        lanes.end(lane, is_answered=True)

    # The places that become free are for the other organization.
    assert [lanes.room(lane) for lane in own] == [0, 0, 0, 0]


def test_a_grant_counts_what_lanes_share(lanes: Lanes) -> None:
    hanging = hanging_lanes(300)

    granted = lanes.grant(hanging, limit=1000)

    assert list(granted) == hanging[: len(granted)]
    assert sum(granted.values()) == fill(lanes, *hanging)
    assert lanes.grant(hanging, limit=1000) == {}


def test_a_grant_is_limited(lanes: Lanes) -> None:
    assert sum(lanes.grant(hanging_lanes(300), limit=3).values()) == 3
    assert sum(lanes.grant(hanging_lanes(300), limit=1000).values()) > 3


def test_many_active_organizations_may_use_a_window_that_is_free(clock: Clock) -> None:
    lanes = Lanes(LaneSettings(most=50), window=100, clock=clock)
    lane = Lane(1, HEALTHY.origin)
    make_proven(lanes, lane)
    lanes.note_active(range(2, 122))

    assert fill(lanes, lane) > 40


def test_an_organization_that_fills_the_window_leaves_places_for_a_newcomer(clock: Clock) -> None:
    lanes = Lanes(LaneSettings(most=50), window=100, clock=clock)
    own = make_proven_lanes(lanes)

    assert fill(lanes, *own) == 95
    assert lanes.room(Lane(2, HEALTHY.origin)) > 0


def test_a_hold_lasts_as_long_as_the_receiver_asked(clock: Clock) -> None:
    lanes = Lanes(LaneSettings(remembered=600), clock=clock)
    lanes.slow_down(HEALTHY, hold=3600)

    clock.now += 1000
    lanes.mark_busy(HEALTHY)

    assert lanes.room(HEALTHY) == 0
    clock.now += 2601
    assert lanes.room(HEALTHY) > 0
