"""A worker continues without hints, and only one of its threads works at a time."""

from __future__ import annotations

import threading

import pytest
import time_machine

from commands_platform import pacemaker
from commands_platform.celery import app
from commands_platform.lib.metronome import Rhythm
from commands_platform.pacemaker import Turns
from commands_platform.ticks import WholeSeconds


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> Turns:
    """Makes hints count as missing at once."""
    monkeypatch.setattr(pacemaker, "MAX_SECONDS_WITHOUT_HINT", 0.0)
    return Turns()


def test_work_is_done_without_hints(turns: Turns) -> None:
    done: list[str] = []
    turns.on_work = lambda: done.append("noted")

    turns.work_without_hint(lambda: done.append("worked"))

    assert done == ["noted", "worked"]


def test_no_work_is_done_while_hints_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacemaker, "MAX_SECONDS_WITHOUT_HINT", 60.0)
    turns, done = Turns(), []
    turns.note_hint()

    turns.work_without_hint(lambda: done.append("worked"))

    assert done == []


def test_no_work_is_done_while_another_thread_works(turns: Turns) -> None:
    done: list[str] = []

    with turns.take():
        turns.work_without_hint(lambda: done.append("worked"))

    assert done == []


def test_a_task_waits_for_work_that_began_without_a_hint(turns: Turns) -> None:
    working, may_end, done = threading.Event(), threading.Event(), []

    def work() -> None:
        working.set()
        may_end.wait(10)
        done.append("without a hint")

    def task() -> None:
        with turns.take():
            done.append("task")

    threads = [threading.Thread(target=turns.work_without_hint, args=[work]), threading.Thread(target=task)]
    threads[0].start()
    assert working.wait(10)
    threads[1].start()
    may_end.set()
    for thread in threads:
        thread.join(10)

    assert done == ["without a hint", "task"]


def test_an_error_gives_the_turn_back(turns: Turns) -> None:
    with pytest.raises(ZeroDivisionError):
        turns.work_without_hint(lambda: 1 / 0)

    with turns.take():
        pass


@pytest.mark.parametrize(
    ("name", "counts"),
    [("scheduling.dispatch_ahead", True), ("deliveries.deliver_pending", True), ("scheduling.dispatch_due", False)],
)
@pytest.mark.django_db
def test_only_regular_hints_hold_the_pacemaker_back(name: str, counts: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients that save schedules all the time must not hide that beat has stopped."""
    noted: list[str] = []
    monkeypatch.setattr(pacemaker.turns, "note_hint", lambda: noted.append("hint"))

    app.tasks[name]()

    assert bool(noted) is counts


@pytest.mark.parametrize("step", [-30, 30], ids=["back", "forward"])
def test_beat_continues_at_once_after_its_clock_has_stepped(step: int) -> None:
    schedule = WholeSeconds(Rhythm(offset=-0.02))
    with time_machine.travel("2026-03-01T12:00:00Z", tick=False) as clock:
        last_run_at = app.now()
        assert not schedule.is_due(last_run_at).is_due

        clock.shift(step)

        assert schedule.is_due(last_run_at).is_due
        assert schedule.is_due(last_run_at).next <= 1
