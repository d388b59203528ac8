"""The dispatcher's tasks: a slot between two ticks does not wait for the next tick."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from commands_platform.lib import clock
from scheduling import dispatch, tasks
from scheduling.models import DeactivationReason
from tests.factories import make_command, make_schedule

pytestmark = pytest.mark.django_db

URL = "http://127.0.0.1:9/callback"


@pytest.fixture
def hinted(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Returns an event that is set when the dispatcher is told to look again."""
    event = threading.Event()

    def send_hint(task: Any) -> None:
        if task.name == "scheduling.dispatch_due":
            event.set()

    monkeypatch.setattr(tasks, "send_hint", send_hint)
    return event


def slot_at(instant: datetime, **values: Any) -> None:
    make_schedule(make_command(callback_url=URL), next_run_at=instant, anchor_at=instant, **values)


@pytest.mark.parametrize("task", [tasks.tick, tasks.dispatch_due])
def test_a_slot_between_two_ticks_has_a_hint_at_its_time(hinted: threading.Event, task: Callable[[], None]) -> None:
    now = clock.now().replace(microsecond=100_000)
    slot_at(now + timedelta(milliseconds=150), execution_frequency=0)

    began = time.monotonic()
    with clock.replaced_by(lambda: now):
        task()

    assert hinted.wait(5)
    assert time.monotonic() - began >= 0.15


@pytest.mark.parametrize(
    ("milliseconds", "expected"),
    [(-300, None), (-100, 0), (1, 1), (700, 700), (879, 879), (880, None), (900, None), (1100, None)],
)
def test_only_a_slot_before_the_next_tick_gets_a_hint(milliseconds: int, expected: int | None) -> None:
    now = clock.now().replace(microsecond=100_000)
    slot_at(now + timedelta(milliseconds=milliseconds))

    with clock.replaced_by(lambda: now):
        left = dispatch.time_to_next_slot()

    assert left == (None if expected is None else timedelta(milliseconds=expected))


def test_a_paused_schedule_gets_no_hint() -> None:
    now = clock.now().replace(microsecond=100_000)
    slot_at(now + timedelta(milliseconds=1), is_active=False, deactivation_reason=DeactivationReason.PAUSED)

    with clock.replaced_by(lambda: now):
        assert dispatch.time_to_next_slot() is None
