"""Locked rows, however many there are, do not hide the free rows after them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from django.db.models import QuerySet

from commands_platform.lib import clock
from deliveries.models import Delivery, Kind, Reason, State
from events import gone as events_gone
from events.gone import remove_gone_hooks
from events.models import Hook
from scheduling import dispatch
from scheduling import gone as scheduling_gone
from scheduling.gone import deactivate_gone
from scheduling.models import ScheduledExecution, UnspentRepeat
from scheduling.repeats import give_back_repeats
from tests.factories import make_command, make_delivery, make_schedule
from tests.locks import held_elsewhere, without_waiting
from tests.scheduling.dispatching import make_due
from tests.scheduling.schedules import MINUTE, NOON, URL, rows_of

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _nothing_waits() -> Iterator[None]:
    scheduling_gone._process_walk.cache_clear()
    events_gone._process_walk.cache_clear()
    with without_waiting():
        yield


@pytest.fixture
def small_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deliveries.gone.MAX_GONE_AT_ONCE", 2)


def among(schedules: list[ScheduledExecution]) -> QuerySet[ScheduledExecution]:
    return ScheduledExecution.objects.filter(pk__in=[schedule.pk for schedule in schedules])


def make_gone(schedule: ScheduledExecution) -> Delivery:
    return make_delivery(
        schedule.command,
        source_uuid=schedule.uuid,
        url=URL,
        state=State.FAILED,
        reason=Reason.GONE,
        next_attempt_at=None,
        finished_at=clock.now(),
    )


def make_gone_hook() -> Hook:
    command = make_command(callback_url=URL)
    hook = Hook.objects.create(organization=command.organization, command=command, subscriptions=["kudos.*"])
    make_delivery(
        command,
        kind=Kind.EVENT,
        destination=hook.destination,
        url=URL,
        state=State.FAILED,
        reason=Reason.GONE,
        next_attempt_at=None,
        finished_at=clock.now(),
    )
    return hook


def test_notes_of_locked_schedules_do_not_hide_other_notes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scheduling.repeats._NOTES_AT_ONCE", 2)
    command = make_command(callback_url=URL)
    held, (free,) = [make_schedule(command, repeats=3) for _ in range(3)], [make_schedule(command, repeats=3)]
    for schedule in [*held, free]:
        UnspentRepeat.objects.create(schedule_uuid=schedule.uuid, due_at=clock.now(), reason=Reason.COMMAND_INACTIVE)

    with held_elsewhere(among(held)):
        assert give_back_repeats() == 1
    free.refresh_from_db()
    assert free.repeats == 4

    assert [give_back_repeats(), give_back_repeats()] == [2, 1]


def test_a_locked_note_of_a_deleted_schedule_blocks_nobody() -> None:
    note = UnspentRepeat.objects.create(
        schedule_uuid="8f2e6a38-53c1-4f3c-9a51-0d6f4b6a1c11", due_at=clock.now(), reason=Reason.COMMAND_INACTIVE
    )

    with held_elsewhere(UnspentRepeat.objects.filter(pk=note.pk)):
        assert give_back_repeats() == 0
    give_back_repeats()

    assert not UnspentRepeat.objects.exists()


@pytest.mark.usefixtures("small_portions")
@pytest.mark.parametrize("seconds", [30.0, 0.0], ids=["in one look", "in several looks"])
@pytest.mark.parametrize("what", [ScheduledExecution, Delivery])
def test_locked_schedules_of_gone_receivers_do_not_hide_others(
    what: type[ScheduledExecution | Delivery], seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deliveries.gone._MAX_SECONDS_AT_ONCE", seconds)
    since = clock.now() - MINUTE
    command = make_command(callback_url=URL)
    schedules = [make_schedule(command) for _ in range(5)]
    unsent = [make_delivery(command, source_uuid=schedule.uuid, due_at=clock.now()) for schedule in schedules]
    for schedule in schedules:
        make_gone(schedule)
    rows = among(schedules[:4]) if what is ScheduledExecution else Delivery.objects.filter(
        pk__in=[delivery.pk for delivery in unsent[:4]]
    )  # fmt: skip

    looks = 1 if seconds else 3
    with held_elsewhere(rows):
        assert sum(deactivate_gone(since=since) for _ in range(looks)) == 1
    assert sum(deactivate_gone(since=since) for _ in range(looks)) == 4


@pytest.mark.usefixtures("small_portions")
def test_locked_hooks_of_gone_receivers_do_not_hide_others() -> None:
    since = clock.now() - MINUTE
    hooks = [make_gone_hook() for _ in range(5)]

    with held_elsewhere(Hook.objects.filter(pk__in=[hook.pk for hook in hooks[:4]])):
        assert remove_gone_hooks(since=since) == 1
    assert remove_gone_hooks(since=since) == 4


def test_locked_schedules_at_both_ends_of_a_herd_do_not_hide_others(
    time: list[datetime], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The dispatcher lists the oldest and the newest due schedules, to take their receivers in turn."""
    monkeypatch.setattr(dispatch, "_FIRST_BATCH", 1)
    monkeypatch.setattr(dispatch, "_HERD_OLDEST", 2)
    monkeypatch.setattr(dispatch, "_HERD_NEWEST", 1)
    seconds = timedelta(seconds=1)
    common = {"command": make_command(callback_url=URL), "cron": "30 * * * *"}
    oldest = [make_due(next_run_at=NOON - 3 * seconds, **common) for _ in range(3)]
    free = [make_due(next_run_at=NOON - 2 * seconds, **common) for _ in range(4)]
    newest = [make_due(next_run_at=NOON - seconds, **common) for _ in range(2)]

    with held_elsewhere(among([*oldest, *newest])):
        assert dispatch.dispatch_due() == 4

    assert [len(rows_of(schedule)) for schedule in free] == [1] * 4
