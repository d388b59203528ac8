"""An alarm rings once, at the earliest of its times."""

from __future__ import annotations

import threading
import time
from datetime import timedelta

import pytest

from commands_platform.lib.alarm import Alarm


def milliseconds(number: int) -> timedelta:
    return timedelta(milliseconds=number)


def no_more_threads(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


class Bell:
    """Knows when it rang."""

    def __init__(self) -> None:
        self.rang_at: list[float] = []
        self._rang = threading.Condition()

    def ring(self) -> None:
        with self._rang:
            self.rang_at.append(time.monotonic())
            self._rang.notify_all()

    def wait_for(self, count: int) -> None:
        with self._rang:
            assert self._rang.wait_for(lambda: len(self.rang_at) >= count, 5)


def test_it_rings_once_at_the_earliest_of_its_times() -> None:
    bell = Bell()
    alarm, began = Alarm(bell.ring), time.monotonic()

    for left in (10_000, 60, 90, 20_000):
        alarm.set(milliseconds(left))
    bell.wait_for(1)

    assert bell.rang_at[0] - began >= 0.06
    # What it was set to later is over too: it is set to one time, the next one.
    alarm.set(milliseconds(50))
    bell.wait_for(2)
    time.sleep(0.05)
    assert len(bell.rang_at) == 2


def test_a_thread_that_cannot_be_started_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    bell = Bell()
    alarm = Alarm(bell.ring)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_more_threads)
        with pytest.raises(RuntimeError):
            alarm.set(milliseconds(0))

    alarm.set(milliseconds(0))

    bell.wait_for(1)


def test_it_can_be_set_again_and_never_rings_in_a_row() -> None:
    bell = Bell()
    alarm = Alarm(bell.ring)

    for count in (1, 2, 3):
        alarm.set(milliseconds(0))
        bell.wait_for(count)

    assert all(later - earlier >= 0.02 for earlier, later in zip(bell.rang_at, bell.rang_at[1:], strict=False))
