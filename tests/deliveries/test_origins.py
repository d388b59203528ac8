"""An origin's share of the sender, and its breaker, on a clock that the tests control."""

from __future__ import annotations

import pytest

from deliveries.origins import Origins, OriginSettings

SETTINGS = OriginSettings(most=20, first=8, failures=3, first_pause=5, longest_pause=12)
HANGING, HEALTHY = "http://hanging:80", "http://healthy:80"


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def origins(clock: Clock) -> Origins:
    return Origins(SETTINGS, clock)


def send(origins: Origins, origin: str, *answers: bool) -> list[bool]:
    opened = []
    for is_answered in answers:
        origins.begin(origin)
        opened.append(origins.end(origin, is_answered=is_answered))
    return opened


def test_a_new_origin_begins_with_a_small_share(origins: Origins) -> None:
    assert origins.room(HEALTHY) == 8


def test_requests_in_flight_take_room(origins: Origins) -> None:
    for _ in range(8):
        origins.begin(HEALTHY)

    assert origins.room(HEALTHY) == 0
    origins.abandon(HEALTHY)
    assert origins.room(HEALTHY) == 1


def test_answers_make_the_share_grow_up_to_its_limit(origins: Origins) -> None:
    send(origins, HEALTHY, *[True] * 50)

    assert origins.room(HEALTHY) == 20


def test_a_missing_answer_halves_the_share(origins: Origins) -> None:
    send(origins, HANGING, False)

    assert origins.room(HANGING) == 4


def test_only_failures_in_a_row_open_the_breaker(origins: Origins) -> None:
    assert send(origins, HANGING, False, False, True, False, False) == [False] * 5
    assert origins.room(HANGING) > 0
    assert send(origins, HANGING, False) == [True]
    assert origins.room(HANGING) == 0


def test_an_open_breaker_affects_only_its_origin(origins: Origins) -> None:
    send(origins, HANGING, False, False, False)

    assert origins.room(HEALTHY) == 8
    assert origins.busy() == [HANGING]
    assert origins.paused() == {HANGING: 5.0}


def test_after_the_pause_one_request_at_a_time_may_begin(origins: Origins, clock: Clock) -> None:
    send(origins, HANGING, False, False, False)

    clock.now += 5
    assert origins.room(HANGING) == 1
    assert not origins.paused()
    origins.begin(HANGING)
    assert origins.room(HANGING) == 0


def test_a_probe_without_an_answer_makes_the_pause_longer_up_to_a_limit(origins: Origins, clock: Clock) -> None:
    send(origins, HANGING, False, False, False)
    pauses = []

    for _ in range(3):
        clock.now += origins.paused()[HANGING]
        assert send(origins, HANGING, False) == [False]
        pauses.append(origins.paused()[HANGING])

    assert pauses == [10, 12, 12]


def test_an_answer_closes_the_breaker(origins: Origins, clock: Clock) -> None:
    send(origins, HANGING, False, False, False)
    clock.now += 5

    send(origins, HANGING, True)

    assert origins.room(HANGING) >= 1
    assert not origins.paused()
    send(origins, HANGING, False, False)
    assert not origins.paused()


def test_an_origin_is_forgotten_some_time_after_its_last_use(origins: Origins, clock: Clock) -> None:
    send(origins, HANGING, False)

    clock.now += SETTINGS.remembered - 1
    origins.mark_busy(HANGING)
    assert origins.room(HANGING) == 4

    clock.now += 2
    origins.mark_busy(HANGING)
    assert origins.room(HANGING) == 8


def test_a_request_in_flight_when_the_breaker_opened_is_not_a_probe(origins: Origins) -> None:
    for _ in range(5):
        origins.begin(HANGING)

    opened = [origins.end(HANGING, is_answered=False) for _ in range(5)]

    assert opened == [False, False, True, False, False]
    assert origins.paused() == {HANGING: 5.0}


def test_a_429_halves_the_share(origins: Origins) -> None:
    origins.slow_down(HEALTHY, hold=0)

    assert origins.room(HEALTHY) == 4
    assert origins.paused() == {}


def test_no_request_begins_while_an_origin_asks_us_to_wait(origins: Origins, clock: Clock) -> None:
    origins.begin(HEALTHY)
    origins.slow_down(HEALTHY, hold=30)
    origins.slow_down(HEALTHY, hold=10)

    assert origins.room(HEALTHY) == 0
    assert origins.is_in_doubt(HEALTHY)
    assert origins.paused() == {HEALTHY: 30}
    origins.end(HEALTHY, is_answered=True)
    assert origins.room(HEALTHY) == 0
    clock.now += 30
    assert origins.room(HEALTHY) == 3
    assert not origins.is_in_doubt(HEALTHY)
    assert origins.paused() == {}


def test_the_number_of_remembered_origins_is_limited(clock: Clock) -> None:
    origins = Origins(OriginSettings(first=8, max_remembered=100), clock)
    origins.begin("http://in-flight:80")

    for number in range(1000):
        origin = f"http://{number}:80"
        send(origins, origin, False)
        origins.mark_busy(origin)
        origins.room(f"http://only-asked-about-{number}:80")

    assert len(origins) == 100
    assert len(origins.busy()) < 100
    assert (origins.room("http://in-flight:80"), origins.room("http://999:80")) == (7, 4)
    assert origins.room("http://0:80") == 8


def test_an_origin_with_requests_in_flight_is_never_forgotten(clock: Clock) -> None:
    origins = Origins(OriginSettings(max_remembered=3), clock)
    for number in range(10):
        origins.begin(f"http://{number}:80")

    for number in range(10):
        origins.end(f"http://{number}:80", is_answered=True)
    origins.begin(HEALTHY)

    assert origins.room("http://5:80") > 0
