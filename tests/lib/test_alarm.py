"""An alarm rings once, at the earliest time that it was set to."""

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


def running_timers() -> list[threading.Timer]:
    return [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]


class Bell:
    """Records when it rang."""

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


def test_an_alarm_rings_once_at_the_earliest_of_its_times() -> None:
    bell = Bell()
    alarm, began = Alarm(bell.ring), time.monotonic()

    for left in (10_000, 60, 90, 20_000):
        alarm.set(milliseconds(left))
    bell.wait_for(1)

    assert bell.rang_at[0] - began >= 0.06
    # The later times are forgotten: their timers end without ringing.
    alarm.set(milliseconds(50))
    bell.wait_for(2)
    for timer in running_timers():
        timer.join(5)
    assert running_timers() == []
    assert len(bell.rang_at) == 2


def test_an_alarm_whose_thread_could_not_start_can_be_set_again(monkeypatch: pytest.MonkeyPatch) -> None:
    bell = Bell()
    alarm = Alarm(bell.ring)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_more_threads)
        with pytest.raises(RuntimeError):
            alarm.set(milliseconds(0))

    alarm.set(milliseconds(0))

    bell.wait_for(1)


def test_an_alarm_can_be_set_again_and_pauses_between_rings() -> None:
    bell = Bell()
    alarm = Alarm(bell.ring)

    for count in (1, 2, 3):
        alarm.set(milliseconds(0))
        bell.wait_for(count)

    assert all(later - earlier >= 0.02 for earlier, later in zip(bell.rang_at, bell.rang_at[1:], strict=False))
