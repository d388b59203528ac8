"""The compact text in which the ledger stores attempts."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.db import connection

from deliveries.attempts import Attempt, Timings
from deliveries.models import AttemptError, Delivery
from tests.factories import make_delivery

STARTED_AT = datetime(2026, 2, 25, 12, 0, 0, 123_457, UTC)
TIMINGS = Timings(dns=12, connect=50, tls=0, first_byte=1200, total=1400)
DELIVERED = Attempt(1, STARTED_AT, status=204, timings=TIMINGS, address="127.0.0.1")
ATTEMPTS = [
    DELIVERED,
    Attempt(2, STARTED_AT, status=503, timings=TIMINGS, address="::1", message="No.", response='two\nlines, "é" \0'),
    Attempt(3, STARTED_AT, error=AttemptError.TIMEOUT, timings=Timings(0, 0, 0, 0, 0), message="Late."),
    Attempt(4, STARTED_AT, error=AttemptError.UNSENDABLE, message="The request could not be made: No."),
    Attempt(5, STARTED_AT, status=200, timings=TIMINGS),
]


def test_an_attempt_is_stored_as_a_line_without_keys_and_empty_values() -> None:
    assert DELIVERED.stored() == '[1,1772020800123457,204,[12,50,0,1200,1400],"127.0.0.1"]\n'


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_a_stored_attempt_is_read_as_it_was(attempt: Attempt) -> None:
    line = attempt.stored()

    assert Attempt.from_stored(line) == attempt
    assert line.count("\n") == 1


@pytest.mark.django_db
def test_the_ledger_returns_its_attempts_in_order() -> None:
    delivery = make_delivery(attempts=ATTEMPTS)

    assert Delivery.objects.get(pk=delivery.pk).attempts == ATTEMPTS
    with connection.cursor() as cursor:
        cursor.execute("SELECT regexp_count(attempts, '\\n') FROM deliveries_delivery")
        assert cursor.fetchall() == [(len(ATTEMPTS),)]


@pytest.mark.django_db
def test_a_delivery_without_attempts_has_none() -> None:
    delivery = make_delivery()

    assert Delivery.objects.get(pk=delivery.pk).attempts == []


def test_an_attempt_without_a_request_shows_neither_times_nor_an_answer() -> None:
    assert ATTEMPTS[3].shown() == {
        "number": 4,
        "started_at": "2026-02-25T12:00:00.123457Z",
        "status": None,
        "error": "unsendable",
        "message": "The request could not be made: No.",
    }


def test_times_are_shown_in_milliseconds() -> None:
    shown = DELIVERED.shown()

    assert [shown[f"{part}_ms"] for part in TIMINGS._fields] == [0.012, 0.05, 0, 1.2, 1.4]
