"""Housekeeping chores: each is done once in its time, however many dispatchers run."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import transaction

from commands_platform.housekeeping import CHORES
from commands_platform.lib import clock
from commands_platform.lib.metronome import Rhythm
from processes.chores import Chore
from processes.models import ChoreRun
from tests.locks import held_elsewhere


def chore_that_notes(runs: list[int]) -> Chore:
    return Chore("note", Rhythm(every=10), lambda: runs.append(1))


@pytest.mark.django_db
def test_two_dispatchers_do_a_chore_once_in_its_time() -> None:
    runs: list[int] = []

    for _ in range(2):
        chore_that_notes(runs).as_timed_work().work()

    assert runs == [1]


@pytest.mark.parametrize("started_ago", [timedelta(seconds=10), timedelta(hours=-1)], ids=["earlier", "in the future"])
@pytest.mark.django_db
def test_a_chore_is_done_again_when_its_time_has_come_or_the_clock_has_stepped_back(started_ago: timedelta) -> None:
    runs: list[int] = []
    chore_that_notes(runs).as_timed_work().work()
    ChoreRun.objects.update(started_at=clock.now() - started_ago)

    chore_that_notes(runs).as_timed_work().work()

    assert runs == [1, 1]


@pytest.mark.django_db(transaction=True)
def test_a_locked_chore_is_skipped() -> None:
    runs: list[int] = []
    ChoreRun.objects.create(name="note", started_at="2020-01-01T00:00:00Z")

    with held_elsewhere(ChoreRun.objects.filter(name="note")):
        chore_that_notes(runs).as_timed_work().work()

    assert runs == []


def test_every_chore_has_a_name_of_its_own() -> None:
    assert len({chore.name for chore in CHORES}) == len(CHORES)


@pytest.mark.parametrize("chore", CHORES, ids=lambda chore: chore.name)
@pytest.mark.usefixtures("floor_of_its_own")
@pytest.mark.django_db
def test_every_chore_finds_nothing_to_do_in_an_empty_database(chore: Chore) -> None:
    with transaction.atomic():
        chore.work()
