"""Work at certain times of the wall clock, in a thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import OperationalError

from commands_platform.lib.metronome import Metronome, Rhythm, TimedWork, stop_all

QUICK = Rhythm(every=0.02)


@contextmanager
def running(*works: TimedWork, bell: threading.Event | None = None) -> Iterator[None]:
    metronome = Metronome("test", works, bell=bell)
    metronome.start()
    try:
        yield
    finally:
        stop_all([metronome], patience=10)
        assert not metronome.is_alive()


@pytest.mark.parametrize(
    ("rhythm", "instant", "turn", "left"),
    [
        (Rhythm(), 100.0, 100, 1.0),
        (Rhythm(), 100.75, 100, 0.25),
        (Rhythm(offset=-0.25), 100.75, 101, 1.0),
        (Rhythm(offset=-0.25), 100.5, 100, 0.25),
        (Rhythm(every=10, offset=2.5), 102.0, 9, 0.5),
        (Rhythm(every=0.25), 100.125, 400, 0.125),
    ],
)
def test_a_rhythm_counts_its_turns(rhythm: Rhythm, instant: float, turn: int, left: float) -> None:
    assert rhythm.turn(instant) == turn
    assert rhythm.seconds_to_next(instant) == left


def test_work_is_done_again_and_again() -> None:
    done = threading.Semaphore(0)

    with running(TimedWork("count", QUICK, done.release)):
        for _ in range(3):
            assert done.acquire(timeout=10)


@pytest.mark.parametrize("error", [ValueError("broken"), OperationalError("the database is away")])
def test_an_error_stops_neither_the_work_nor_other_works(error: Exception) -> None:
    failed, done = threading.Semaphore(0), threading.Semaphore(0)

    def fail() -> None:
        failed.release()
        raise error

    with running(TimedWork("fail", QUICK, fail), TimedWork("count", QUICK, done.release)):
        for _ in range(2):
            assert failed.acquire(timeout=10)
            assert done.acquire(timeout=10)


def test_turns_that_pass_during_a_long_work_are_left_out() -> None:
    began, may_end, runs = threading.Semaphore(0), threading.Event(), []

    def work() -> None:
        runs.append(1)
        began.release()
        may_end.wait(10)

    with running(TimedWork("long", Rhythm(every=0.01), work)):
        assert began.acquire(timeout=10)
        # Twenty turns pass.
        time.sleep(0.2)
        assert len(runs) == 1
        ended = time.monotonic()
        may_end.set()
        for _ in range(6):
            assert began.acquire(timeout=10)
        # Turns that had been kept would all be done at once. Six of them take five intervals.
        assert time.monotonic() - ended >= 0.04


def test_the_bell_starts_the_work_at_once() -> None:
    done, bell = threading.Semaphore(0), threading.Event()

    with running(TimedWork("rare", Rhythm(every=1e9), done.release), bell=bell):
        for _ in range(3):
            bell.set()
            assert done.acquire(timeout=10)


def test_a_bell_that_rings_during_the_work_starts_it_once_more() -> None:
    began, may_end, bell = threading.Semaphore(0), threading.Semaphore(0), threading.Event()

    def work() -> None:
        began.release()
        may_end.acquire(timeout=10)

    with running(TimedWork("rare", Rhythm(every=1e9), work), bell=bell):
        bell.set()
        assert began.acquire(timeout=10)
        bell.set()
        may_end.release()
        assert began.acquire(timeout=10)
        may_end.release()
