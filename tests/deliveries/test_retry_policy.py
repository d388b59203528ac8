from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deliveries.retry_policy import DEFAULT_DELAYS, backoff, is_retryable, parse_retry_after, retry_delay

NOW = datetime(2026, 2, 25, 12, 0, 0, tzinfo=UTC)
YEAR = timedelta(days=365)


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
def test_only_what_may_pass_by_itself_is_tried_again(status: int | None, retryable: bool) -> None:
    assert is_retryable(status) is retryable


@pytest.mark.parametrize(
    ("attempt", "seconds"),
    [(1, 5), (2, 30), (3, 300), (4, 1_800), (5, 7_200), (6, 18_000), (7, 36_000), (8, None), (9, None), (10**9, None)],
)
def test_the_default_waits_grow_and_end(attempt: int, seconds: int | None) -> None:
    expected = None if seconds is None else timedelta(seconds=seconds)

    assert backoff(attempt, random=never_later) == expected


@pytest.mark.parametrize("attempt", range(1, len(DEFAULT_DELAYS) + 1))
def test_jitter_makes_a_wait_up_to_a_fifth_longer_and_never_shorter(attempt: int) -> None:
    delay = DEFAULT_DELAYS[attempt - 1]

    waits = [backoff(attempt) for _ in range(50)]

    assert all(wait is not None and delay <= wait <= delay * 1.2 for wait in waits)
    assert len(set(waits)) > 1
    assert backoff(attempt, random=latest) == pytest.approx(delay * 1.2, abs=timedelta(seconds=0.1))


def test_an_operators_own_delays_are_used() -> None:
    delays = [timedelta(seconds=1), timedelta(seconds=2)]

    waits = [backoff(attempt, delays=delays, random=never_later) for attempt in (1, 2, 3)]

    assert waits == [timedelta(seconds=1), timedelta(seconds=2), None]
    assert backoff(1, delays=[]) is None


@pytest.mark.parametrize("attempt", [0, -1])
def test_attempts_are_counted_from_one(attempt: int) -> None:
    with pytest.raises(ValueError):
        backoff(attempt)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        ("  120\t", 120),
        ("0120", 120),
        ("Wed, 25 Feb 2026 12:02:00 GMT", 120),
        ("Wednesday, 25-Feb-26 12:02:00 GMT", 120),
        ("Wed Feb 25 12:02:00 2026", 120),
        ("Sun Mar  1 12:00:00 2026", 345_600),
        ("Sun Mar 01 12:00:00 2026", 345_600),
        ("Wed, 25 Feb 2026 12:00:60 GMT", 59),
        ("Wed, 25 Feb 2026 11:59:59 GMT", 0),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 0),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 0),
        ("Sun Nov  6 08:49:37 1994", 0),
        ("Sat, 01 Jan 0001 00:00:00 GMT", 0),
    ],
)
def test_retry_after_is_read_in_each_form_of_the_standard(value: str, seconds: int) -> None:
    assert parse_retry_after(value, now=NOW) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("value", "wait"),
    [
        ("Wednesday, 24-Feb-76 12:00:00 GMT", YEAR),
        ("Wednesday, 25-Feb-76 12:00:00 GMT", YEAR),
        ("Wednesday, 25-Feb-76 12:00:01 GMT", timedelta(0)),
        ("Wednesday, 25-Feb-99 12:00:00 GMT", timedelta(0)),
    ],
)
def test_a_two_digit_year_more_than_fifty_years_ahead_is_past(value: str, wait: timedelta) -> None:
    assert parse_retry_after(value, now=NOW) == wait


@pytest.mark.parametrize(
    "value", ["31536001", "9" * 20, "9" * 64, "Fri, 31 Dec 9999 23:59:59 GMT"], ids=lambda value: value[:24]
)
def test_an_absurd_retry_after_is_a_year_at_most(value: str) -> None:
    assert parse_retry_after(value, now=NOW) == YEAR


@pytest.mark.parametrize(
    "value",
    [
        *(
            None,
            "",
            " ",
            "-1",
            "+5",
            "1.5",
            "1e3",
            "0x10",
            "1_000",
            "\uff11\uff12",
            "\u0661",
            "5 s",
            "5, 6",
            "5;6",
            "inf",
        ),
        *("soon", "\x00", "5\x00", "5\n", "9" * 65, "1" * 100_000, "12\u00a0", "nan"),
        *("Wed, 25 Feb 2026 12:02:00 +0000", "Wed, 25 Feb 2026 12:02:00", "wed, 25 feb 2026 12:02:00 gmt"),
        *("Wed, 25 Feb 26 12:02:00 GMT", "25 Feb 2026 12:02:00 GMT", "Wed, 30 Feb 2026 12:02:00 GMT"),
        *("Wed, 25 Feb 2026 25:02:00 GMT", "Wed, 25 Feb 2026 12:61:00 GMT", "Wed, 00 Feb 2026 12:02:00 GMT"),
        *("Sat, 01 Jan 0000 00:00:00 GMT", "Wed, 25 Feb 2026 12:02:00 GMT\x00", "2026-02-25T12:02:00Z"),
        *("Wednesday, 25-Feb-2026 12:02:00 GMT", "Wed Feb 25 12:02:00 2026 GMT", "Xyz, 25 Feb 2026 12:02:00 GMT"),
        *("Sunday, 29-Feb-26 00:00:00 GMT", "Wed Feb  0 12:02:00 2026"),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_a_junk_retry_after_is_as_good_as_none(value: str | None) -> None:
    assert parse_retry_after(value, now=NOW) is None


def test_retry_after_is_measured_from_now_in_any_zone() -> None:
    now = NOW.astimezone(timezone(timedelta(hours=14)))

    assert parse_retry_after("Wed, 25 Feb 2026 12:02:00 GMT", now=now) == timedelta(minutes=2)
    assert parse_retry_after("Tuesday, 25-Feb-76 18:00:00 GMT", now=now) == timedelta(0)


@given(st.text(max_size=40))
def test_any_text_is_read_or_ignored(value: str) -> None:
    wait = parse_retry_after(value, now=NOW)

    assert wait is None or timedelta(0) <= wait <= YEAR


@given(st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(2200, 1, 1)))  # noqa: DTZ001
def test_dates_as_a_mail_library_writes_them_are_read(naive: datetime) -> None:
    instant = naive.replace(microsecond=0, tzinfo=UTC)

    wait = parse_retry_after(format_datetime(instant, usegmt=True), now=NOW)

    assert wait == min(max(instant - NOW, timedelta(0)), YEAR)


@pytest.mark.parametrize(
    ("attempt", "status", "retry_after", "seconds"),
    [
        (1, None, None, 5),
        (1, 500, None, 5),
        (1, 503, "junk", 5),
        (1, 503, "2", 5),
        (1, 503, "120", 120),
        (1, 429, "120", 120),
        (1, 500, "120", 120),
        (1, 429, "Wed, 25 Feb 2026 12:10:00 GMT", 600),
        (1, 429, "Wed, 25 Feb 2020 12:10:00 GMT", 5),
        (1, 429, "3600", 3_600),
        (1, 429, "999999", 3_600),
        (5, 429, "999999", 7_200),
        (6, 503, "60", 18_000),
        (8, 503, "60", None),
        (8, None, None, None),
        (1, 400, "60", None),
        (1, 404, None, None),
        (1, 410, "60", None),
        (1, 301, "60", None),
    ],
)
def test_a_receiver_can_ask_for_a_longer_wait_and_never_a_shorter_one(
    attempt: int, status: int | None, retry_after: str | None, seconds: int | None
) -> None:
    wait = retry_delay(attempt, status=status, retry_after=retry_after, now=NOW, random=never_later)

    assert wait == (None if seconds is None else timedelta(seconds=seconds))


def test_the_cap_on_what_a_receiver_asks_for_can_be_set() -> None:
    def wait(cap: timedelta) -> timedelta | None:
        return retry_delay(
            1,
            status=429,
            retry_after="86400",
            now=NOW,
            delays=[timedelta(minutes=1)],
            random=never_later,
            retry_after_cap=cap,
        )

    assert wait(timedelta(hours=2)) == timedelta(hours=2)
    assert wait(timedelta(days=2)) == timedelta(days=1)
    assert wait(timedelta(0)) == timedelta(minutes=1)
