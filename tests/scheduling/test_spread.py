"""`spread`: each slot is later by the schedule's own share of some seconds."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commands_platform.lib.zones import use_packaged_zones
from deliveries.models import State
from scheduling import dispatch
from scheduling.recurrence import Missed, Recurrence, missed, next_slot, note_of, slots
from scheduling.spread import delay_of
from scheduling.verification import Verification
from tests.api import ApiClient
from tests.scheduling.schedules import LIST, NOON, change, create, expanded, run, stored

use_packaged_zones()

START = datetime(2026, 3, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
RECURRENCES = [
    Recurrence("Europe/Berlin", START, "0 9 * * *"),
    Recurrence("America/New_York", START, "0,7 1,2 * * *", dst_overlap="both"),
    Recurrence("UTC", START, "* * * * *"),
    Recurrence("UTC", START, "* * * * * *", cron_seconds=True),
    Recurrence("Australia/Lord_Howe", START, period=timedelta(minutes=47)),
    Recurrence("UTC", START + timedelta(milliseconds=250), period=timedelta(seconds=1)),
    Recurrence("Pacific/Kiritimati", START, every='{"days":2,"at":"23:30"}'),
]


@settings(max_examples=120, deadline=None)
@given(st.sampled_from(RECURRENCES), st.integers(1, 86_400), st.uuids(), st.integers(0, 20 * 86_400), st.data())
def test_each_slot_is_later_by_a_share_and_before_the_next_time(
    rule: Recurrence, spread: int, seed: Any, offset: int, data: st.DataObject
) -> None:
    start = START + timedelta(seconds=offset)
    times = list(islice(slots(rule, after=start), 30))
    recurrence = replace(rule, spread=spread, seed=seed)
    expected = [
        time + delay_of(str(seed), spread, (following - time) // SECOND) * SECOND for time, following in pairwise(times)
    ]
    for time, following, slot in zip(times, times[1:], expected, strict=False):
        assert time <= slot < following
        assert slot - time <= spread * SECOND

    assert list(islice(slots(recurrence, after=expected[0]), 28)) == expected[1:]
    for before, after in pairwise(expected):
        asked = before + data.draw(st.integers(0, int((after - before) / timedelta(microseconds=1)) - 1)) * timedelta(
            microseconds=1
        )
        assert next_slot(recurrence, after=asked) == after
    last = data.draw(st.integers(1, len(expected) - 1))
    now = expected[last] + (expected[last + 1] - expected[last]) / 2 if last + 1 < len(expected) else expected[last]
    assert missed(recurrence, first=expected[0], now=now) == Missed(expected[last], last, expected[last - 1])
    assert missed(recurrence, first=expected[0], now=expected[0]) == Missed(expected[0], 0, None)


def test_the_share_is_the_same_for_ever() -> None:
    """Callers rely on it."""
    uuid = "7d0c2d1e-4f7c-4d5a-9a51-0d6f4b6a1c11"
    found = [delay_of(uuid, 3600, None), delay_of(uuid, 60, None), delay_of(uuid, 3600, 60)]
    assert found == [3256, 54, 54]


def test_shares_are_spread_evenly() -> None:
    delays = [delay_of(str(number), 100, None) for number in range(2000)]
    assert set(delays) == set(range(100))
    assert abs(sum(delays) / len(delays) - 49.5) < 3


def test_a_single_run_is_later_too() -> None:
    recurrence = Recurrence("UTC", START, spread=600, seed="x")
    slot = START + delay_of("x", 600, None) * SECOND
    assert list(slots(recurrence, after=START - SECOND)) == [slot]
    assert missed(recurrence, first=slot, now=slot + SECOND) == Missed(slot, 0, None)


def test_the_note_is_that_of_the_time_before_the_share() -> None:
    recurrence = Recurrence("Europe/Berlin", START, "30 2 * * *", spread=7200, seed="x")
    slot = next_slot(recurrence, after=datetime(2026, 3, 28, 12, tzinfo=UTC))
    assert slot is not None
    assert note_of(recurrence, slot) == "after_gap"


@pytest.mark.django_db
def test_slots_of_a_schedule_with_a_spread_run_and_are_complete(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, cron="* * * * *", spread=600)
    delay = delay_of(str(schedule.uuid), 600, 60) * SECOND
    assert schedule.next_run_at == NOON + delay
    for minute in (0, 1, 2):
        time[0] = NOON + timedelta(minutes=minute) + delay
        dispatch.dispatch_due()
    assert [row.due_at - delay for row in schedule.slots()] == [NOON + timedelta(minutes=n) for n in (0, 1, 2)]
    assert list(Verification(stored(str(schedule.uuid))).differences()) == []


@pytest.mark.django_db
def test_a_spread_slot_is_written_ahead(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, cron="* * * * *", spread=600)
    assert schedule.next_run_at is not None
    time[0] = schedule.next_run_at - timedelta(milliseconds=500)
    assert dispatch.dispatch_ahead() == 1


@pytest.mark.django_db
def test_another_spread_keeps_the_phase_of_a_period(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, execution_frequency=3600)
    run(time, 60)
    time[0] = NOON + timedelta(minutes=75)
    change(alice, schedule, spread=600)
    assert schedule.anchor_at == NOON
    assert schedule.next_run_at == NOON + timedelta(hours=2) + delay_of(str(schedule.uuid), 600, None) * SECOND
    assert [row.state for row in schedule.slots()] == [State.CANCELLED]


@pytest.mark.django_db
def test_a_spread_moves_a_single_run(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, starts_at="2026-02-26T12:00:00Z", spread=600)
    expected = NOON + timedelta(days=1) + delay_of(str(schedule.uuid), 600, None) * SECOND
    assert schedule.next_run_at == expected
    change(alice, schedule, spread=0)
    assert schedule.next_run_at == NOON + timedelta(days=1)


@pytest.mark.django_db
def test_a_spread_is_shown_and_described(alice: ApiClient) -> None:
    schedule = create(alice, cron="0 9 * * *", spread=630)
    assert expanded(alice, schedule, "spread", "timing_text") == {
        "spread": 630,
        "timing_text": "At 09:00, up to 10 minutes and 30 seconds later",
    }


@pytest.mark.django_db
@pytest.mark.parametrize("value", [-1, 86_401, "5", 1.5, True])
def test_an_invalid_spread_is_refused(alice: ApiClient, value: object) -> None:
    response = alice.post(LIST, {"name": "x", "cron": "0 9 * * *", "spread": value})
    assert response.status_code == 400
    assert list(response.json()["errors"]) == ["spread"]
