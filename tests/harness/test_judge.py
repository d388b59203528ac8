"""The judge of chaos runs finds every kind of fault, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from harness.chaos.judge import ChaosVerdict, Disturbance, Load, Row, judge
from harness.chaos.receiver import Arrival

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
LOAD = Load(UUID(int=1), NOON, timedelta(seconds=1), NOON + timedelta(seconds=9))


def at(second: float) -> datetime:
    return NOON + timedelta(seconds=second)


def row(second: int, *, state: str = "delivered", last: int | None = None, number: int = 0) -> Row:
    return Row(
        id=UUID(int=100 + second + number),
        schedule=LOAD.uuid,
        due_at=at(second),
        last_due_at=None if last is None else at(last),
        slot_count=1 if last is None else last - second + 1,
        state=state,
        reason="missed" if state == "skipped" else "",
    )


def arrival(second: int, *, number: int = 0, after: float = 0.1) -> Arrival:
    return Arrival(at(second + after).timestamp(), UUID(int=100 + second + number), LOAD.uuid, at(second), 1)


ROWS = [row(second) for second in range(10)]
ARRIVALS = [arrival(second) for second in range(10)]


def judged(rows: list[Row], arrivals: list[Arrival], disturbances: list[Disturbance] | None = None) -> ChaosVerdict:
    return judge([LOAD], rows, arrivals, disturbances or [])


def test_a_row_and_a_request_for_each_slot_pass() -> None:
    verdict = judged(ROWS, ARRIVALS)

    assert verdict.is_good
    assert (verdict.slots, verdict.delivered, verdict.requests) == (10, 10, 10)


def test_a_range_of_missed_slots_counts_as_recorded() -> None:
    verdict = judged([*ROWS[:3], row(3, state="skipped", last=7), *ROWS[8:]], [*ARRIVALS[:3], *ARRIVALS[8:]])

    assert verdict.is_good
    assert verdict.missed == 5


@pytest.mark.parametrize(
    ("rows", "arrivals", "what"),
    [
        pytest.param(ROWS[1:], ARRIVALS[1:], "lost", id="no row"),
        pytest.param(ROWS, ARRIVALS[1:], "lost", id="delivered, and never arrived"),
        pytest.param([row(0, state="pending"), *ROWS[1:]], ARRIVALS, "unfinished", id="still to be sent"),
        pytest.param([row(0, state="failed"), *ROWS[1:]], ARRIVALS, "failed", id="failed"),
        pytest.param([*ROWS, row(0, number=50)], [*ARRIVALS, arrival(0, number=50)], "twice", id="two rows"),
        pytest.param([*ROWS, row(2, state="skipped", last=4)], ARRIVALS, "twice", id="sent and recorded as missed"),
        pytest.param(ROWS, [*ARRIVALS, arrival(0, number=50)], "invented", id="a request without a row"),
        pytest.param([*ROWS, row(10)], [*ARRIVALS, arrival(10)], "invented", id="a slot after the end"),
        pytest.param([row(0, state="skipped"), *ROWS[1:]], ARRIVALS, "invented", id="recorded as missed, and sent"),
        pytest.param(ROWS, [*ARRIVALS, arrival(0, after=6)], "duplicates_unexplained", id="sent again for no reason"),
    ],
)
def test_every_kind_of_fault_is_found(rows: list[Row], arrivals: list[Arrival], what: str) -> None:
    verdict = judged(rows, arrivals)

    assert not verdict.is_good
    assert getattr(verdict, what) > 0
    assert verdict.examples[what]


@pytest.mark.parametrize(
    ("disturbance", "is_explained"),
    [
        (Disturbance("kill", at(-1).timestamp(), at(0.5).timestamp()), True),
        (Disturbance("kill", at(0.5).timestamp(), at(7).timestamp()), False),
        (Disturbance("freeze", 0, 0, at(5.5).timestamp(), at(6.5).timestamp()), True),
    ],
)
def test_a_disturbance_explains_a_duplicate_of_a_request_in_flight(
    disturbance: Disturbance, is_explained: bool
) -> None:
    verdict = judged(ROWS, [*ARRIVALS, arrival(0, after=6)], [disturbance])

    assert verdict.duplicates == 1
    assert verdict.is_good is is_explained


@pytest.mark.parametrize(("reason", "is_good"), [("poison", True), ("retries_exhausted", False)])
def test_a_callback_that_kills_its_senders_must_end_as_poison(reason: str, is_good: bool) -> None:
    load = replace(LOAD, uuid=UUID(int=2), end=LOAD.first, is_poison=True)
    ending = replace(row(0, state="failed", number=50), schedule=load.uuid, reason=reason)

    verdict = judge([LOAD, load], [*ROWS, ending], ARRIVALS, [])

    assert (verdict.is_good, verdict.poisoned) == (is_good, int(is_good))


def test_no_other_callback_may_end_as_poison() -> None:
    verdict = judged([replace(row(0, state="failed"), reason="poison"), *ROWS[1:]], ARRIVALS)

    assert (verdict.failed, verdict.poisoned) == (1, 0)
