from __future__ import annotations

from datetime import timedelta

import pytest

from deliveries.retry_policy import DEFAULT_DELAYS, JITTER, backoff, is_retryable, longest_last_wait, retry_delay


def never_later() -> float:
    return 0.0


def latest() -> float:
    return 0.999999


@pytest.mark.parametrize(
    ("status", "retryable"),
    [
        *((None, True), (408, True), (425, True), (429, True), (500, True), (502, True), (503, True), (599, True)),
        *((0, False), (100, False), (200, False), (204, False), (301, False), (302, False), (307, False), (308, False)),
        *(
            (400, False),
            (401, False),
            (403, False),
            (404, False),
            (409, False),
            (410, False),
            (422, False),
            (600, False),
        ),
    ],
)
def test_only_temporary_failures_are_retried(status: int | None, retryable: bool) -> None:
    assert is_retryable(status) is retryable


@pytest.mark.parametrize(
    ("attempt", "seconds"),
    [
        *((1, 5), (2, 30), (3, 300), (4, 1_800), (5, 7_200), (6, 18_000), (7, 36_000)),
        *((8, 36_000), (19, 36_000), (10**9, 36_000)),
    ],
)
def test_the_default_waits_grow_and_the_last_repeats(attempt: int, seconds: int) -> None:
    assert backoff(attempt, random=never_later) == timedelta(seconds=seconds)


@pytest.mark.parametrize("attempt", range(1, len(DEFAULT_DELAYS) + 1))
def test_jitter_makes_a_wait_up_to_a_fifth_longer_and_never_shorter(attempt: int) -> None:
    delay = DEFAULT_DELAYS[attempt - 1]

    waits = [backoff(attempt) for _ in range(50)]

    assert all(wait is not None and delay <= wait <= delay * 1.2 for wait in waits)
    assert len(set(waits)) > 1
    assert backoff(attempt, random=latest) == pytest.approx(delay * 1.2, abs=timedelta(seconds=0.1))


def test_the_delays_that_an_operator_sets_are_used() -> None:
    delays = [timedelta(seconds=1), timedelta(seconds=2)]

    waits = [backoff(attempt, delays=delays, random=never_later) for attempt in (1, 2, 3)]

    assert waits == [timedelta(seconds=1), timedelta(seconds=2), timedelta(seconds=2)]
    assert backoff(1, delays=[]) is None


@pytest.mark.parametrize("attempts", range(1, 21))
def test_the_number_of_attempts_cannot_make_retries_take_much_longer_than_by_default(attempts: int) -> None:
    waits = [backoff(attempt, random=latest) for attempt in range(1, attempts)]
    default = sum((delay * (1 + JITTER) for delay in DEFAULT_DELAYS), timedelta(0))

    taken = sum(filter(None, waits), timedelta(0))

    assert taken <= default + max(0, attempts - 8) * longest_last_wait(DEFAULT_DELAYS)


@pytest.mark.parametrize("attempt", [0, -1])
def test_attempts_are_counted_from_one(attempt: int) -> None:
    with pytest.raises(ValueError):
        backoff(attempt)


@pytest.mark.parametrize(
    ("attempt", "status", "retry_after", "seconds"),
    [
        (1, None, None, 5),
        (1, 500, None, 5),
        (1, 503, 2, 5),
        (1, 503, 120, 120),
        (1, 429, 120, 120),
        (1, 500, 120, 120),
        (1, 429, 3600, 3_600),
        (1, 429, 999999, 3_600),
        (5, 429, 999999, 7_200),
        (6, 503, 60, 18_000),
        (8, 503, 60, 36_000),
        (8, None, None, 36_000),
        (8, 404, None, None),
        (1, 400, 60, None),
        (1, 404, None, None),
        (1, 410, 60, None),
        (1, 301, 60, None),
    ],
)
def test_a_receiver_can_ask_for_a_longer_wait_but_not_for_a_shorter_one(
    attempt: int, status: int | None, retry_after: int | None, seconds: int | None
) -> None:
    asked = None if retry_after is None else timedelta(seconds=retry_after)

    wait = retry_delay(attempt, status=status, retry_after=asked, random=never_later)

    assert wait == (None if seconds is None else timedelta(seconds=seconds))


def test_the_cap_on_retry_after_can_be_set() -> None:
    def wait(cap: timedelta) -> timedelta | None:
        return retry_delay(
            1,
            status=429,
            retry_after=timedelta(days=1),
            delays=[timedelta(minutes=1)],
            random=never_later,
            retry_after_cap=cap,
        )

    assert wait(timedelta(hours=2)) == timedelta(hours=2)
    assert wait(timedelta(days=2)) == timedelta(days=1)
    assert wait(timedelta(0)) == timedelta(minutes=1)
