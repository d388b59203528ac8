"""When the dispatcher wakes senders, and when a change of a schedule wakes the dispatcher."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from commands_platform.lib import broker, clock
from deliveries.models import State
from scheduling import dispatch, services
from tests.factories import make_command, make_delivery
from tests.scheduling.minutely import BEFORE, URL, make_minutely, rows_of, written_ahead
from tests.scheduling.schedules import MINUTE, NOON

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _half_a_second_before_noon(time: list[datetime]) -> None:
    time[0] = BEFORE


@pytest.fixture
def hints(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Returns the list of tasks that are sent."""
    hints: list[str] = []
    monkeypatch.setattr(broker, "send_hint", lambda task: hints.append(task.name))
    return hints


@pytest.mark.parametrize("milliseconds", [-20, 300], ids=["in time", "late"])
def test_the_tick_wakes_enough_senders_for_the_work(
    time: list[datetime], hints: list[str], monkeypatch: pytest.MonkeyPatch, milliseconds: int
) -> None:
    monkeypatch.setattr(dispatch, "_DELIVERIES_PER_HINT", 2)
    command = make_command(callback_url=URL)
    for _ in range(5):
        make_minutely(command=command)
    dispatch.dispatch_ahead()
    time[0] = NOON + timedelta(milliseconds=milliseconds)

    dispatch.tick()

    assert hints == ["deliveries.deliver_pending"] * 3


def test_a_sender_is_woken_before_slots_that_only_the_tick_can_write(time: list[datetime], hints: list[str]) -> None:
    make_minutely(repeats=2)
    time[0] = NOON - timedelta(milliseconds=20)

    dispatch.tick()

    assert hints == ["deliveries.deliver_pending"]


def test_a_tick_without_due_slots_wakes_nobody(time: list[datetime], hints: list[str]) -> None:
    make_minutely(next_run_at=NOON + MINUTE)
    time[0] = NOON - timedelta(milliseconds=20)

    assert dispatch.tick() == 0

    assert hints == []


def test_a_tick_waits_until_the_second_has_begun() -> None:
    """The clock gives three times, one for each look: before the second, before it again, and after it."""
    schedule = make_minutely(repeats=2)
    instants = iter([NOON - timedelta(milliseconds=2), NOON - timedelta(milliseconds=1)])

    with clock.replaced_by(lambda: next(instants, NOON + timedelta(milliseconds=1))):
        assert dispatch.tick() == 1

    assert rows_of(schedule) == [(NOON, State.PENDING, "")]


def test_one_sender_is_woken_for_older_deliveries(time: list[datetime], hints: list[str]) -> None:
    for _ in range(3):
        make_delivery(url=URL, now=NOON - MINUTE)
    time[0] = NOON + timedelta(milliseconds=300)

    dispatch.tick()

    assert hints == ["deliveries.deliver_pending"]


def test_a_change_shortly_before_a_slot_makes_the_dispatcher_look_again(
    hints: list[str], django_capture_on_commit_callbacks: Any
) -> None:
    schedule = written_ahead()

    with django_capture_on_commit_callbacks(execute=True):
        services.update_scheduled_execution(schedule=schedule, changes={"name": "renamed"})

    assert hints == ["scheduling.dispatch_due"]
