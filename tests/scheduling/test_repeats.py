"""Only a run that was attempted spends a repeat. Otherwise the repeat is given back."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from typing import Any

import pytest

from commands_platform.lib import clock
from deliveries import outcomes, queue
from deliveries.models import Delivery, Reason, State
from deliveries.outcomes import Outcome
from deliveries.sender import Sender, process_sender
from organizations.models import Command
from scheduling import dispatch, run_services, services
from scheduling.models import DeactivationReason, ScheduledExecution, UnspentRepeat
from scheduling.repeats import give_back_repeats
from scheduling.verification import Verification
from tests.api import ApiClient
from tests.deliveries.senders import make_sender, run_until
from tests.factories import make_attempt, make_command, make_schedule
from tests.locks import held_elsewhere, without_waiting
from tests.receiver import Answer, Receiver
from tests.scheduling.schedules import MINUTE, NOON, change, create, fired, rows_of, run, skipped

pytestmark = pytest.mark.django_db


@pytest.fixture
def sender() -> Sender:
    return process_sender()


def set_active(schedule: ScheduledExecution, *, is_active: bool) -> None:
    Command.objects.filter(pk=schedule.command_id).update(is_active=is_active)


def dispatch_and_skip(schedule: ScheduledExecution, sender: Sender, time: list[datetime], minute: float = 1) -> None:
    """Deactivates the command between the dispatch of a slot and its claim."""
    run(time, minute)
    set_active(schedule, is_active=False)
    sender.drain()


def test_a_run_that_was_never_sent_shows_no_attempt_and_spends_no_repeat(
    alice: ApiClient, time: list[datetime], sender: Sender
) -> None:
    schedule = create(alice, execution_frequency=60, repeats=3)
    dispatch_and_skip(schedule, sender, time)

    assert give_back_repeats() == 1

    (row,) = rows_of(schedule)
    assert (row.state, row.reason, row.attempt_count, row.attempts) == (
        State.SKIPPED, Reason.COMMAND_INACTIVE, 0, [],
    )  # fmt: skip
    schedule.refresh_from_db()
    assert (schedule.repeats, schedule.is_active, schedule.next_run_at) == (3, True, NOON + 2 * MINUTE)
    assert give_back_repeats() == 0


def test_a_schedule_completed_by_its_unsent_last_run_continues(
    alice: ApiClient, time: list[datetime], sender: Sender
) -> None:
    schedule = create(alice, execution_frequency=60, repeats=1)
    dispatch_and_skip(schedule, sender, time)
    schedule.refresh_from_db()
    assert schedule.deactivation_reason == DeactivationReason.COMPLETED

    give_back_repeats()

    schedule.refresh_from_db()
    assert (schedule.is_active, schedule.deactivation_reason, schedule.repeats) == (True, "", 1)
    set_active(schedule, is_active=True)
    run(time, 2, 3)
    assert fired(schedule) == [2]
    assert list(Verification(schedule).differences()) == []


def test_slots_that_passed_before_the_schedule_continues_are_recorded(
    alice: ApiClient, time: list[datetime], sender: Sender
) -> None:
    schedule = create(alice, execution_frequency=60, repeats=1)
    dispatch_and_skip(schedule, sender, time)
    time[0] = NOON + 4.5 * MINUTE

    give_back_repeats()

    schedule.refresh_from_db()
    assert schedule.next_run_at == NOON + 5 * MINUTE
    assert skipped(schedule) == [(1, 1, 1, Reason.COMMAND_INACTIVE), (2, 4, 3, Reason.COMMAND_INACTIVE)]
    assert list(Verification(schedule).differences()) == []


@pytest.mark.parametrize(
    "values", [{"repeats": 1}, {"execution_frequency": 60, "repeats": 1, "ends_at": "2026-02-25T12:01:30Z"}]
)
def test_a_schedule_without_another_slot_stays_completed(
    alice: ApiClient, time: list[datetime], sender: Sender, values: dict[str, Any]
) -> None:
    schedule = create(alice, **values)
    dispatch_and_skip(schedule, sender, time)

    give_back_repeats()

    schedule.refresh_from_db()
    assert (schedule.is_active, schedule.repeats) == (False, 1)
    assert schedule.deactivation_reason == DeactivationReason.COMPLETED


def test_a_run_that_was_attempted_has_spent_its_repeat(alice: ApiClient, time: list[datetime], sender: Sender) -> None:
    schedule = create(alice, execution_frequency=60, repeats=3)
    run(time, 1)
    (claimed,) = queue.claim(limit=1, lease=timedelta(seconds=60))
    outcomes.record(
        [Outcome(claimed.id, claimed.lease, State.PENDING, retry_in=timedelta(seconds=5), attempt=make_attempt())]
    )
    time[0] += timedelta(seconds=6)
    set_active(schedule, is_active=False)
    sender.drain()

    assert give_back_repeats() == 0

    (row,) = rows_of(schedule)
    assert (row.state, row.attempt_count) == (State.SKIPPED, 1)
    schedule.refresh_from_db()
    assert schedule.repeats == 2


@pytest.mark.django_db(transaction=True)
def test_a_run_whose_sender_stopped_while_it_was_in_flight_has_spent_its_repeat(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deliveries.sender._STOP_WITHIN_SECONDS", 0.0)
    receiver.always_answer(lambda _: Answer(delay=10))
    command = make_command(callback_url=receiver.url)
    schedule = make_schedule(command, execution_frequency=60, repeats=3, next_run_at=clock.now())
    dispatch.dispatch_due()
    stop = threading.Event()
    runner = threading.Thread(target=run_until, args=(make_sender(), stop))
    runner.start()
    receiver.wait_for(1)
    stop.set()
    runner.join()

    set_active(schedule, is_active=False)
    make_sender().drain()

    (row,) = rows_of(schedule)
    assert (row.state, row.attempt_count, len(row.attempts)) == (State.SKIPPED, 1, 1)
    assert give_back_repeats() == 0
    schedule.refresh_from_db()
    assert schedule.repeats == 2


def test_a_schedule_without_an_end_leaves_no_note(alice: ApiClient, time: list[datetime], sender: Sender) -> None:
    schedule = create(alice, execution_frequency=60)
    dispatch_and_skip(schedule, sender, time)

    assert not UnspentRepeat.objects.exists()


def test_a_manual_run_neither_takes_nor_gives_back_a_repeat(
    alice: ApiClient, time: list[datetime], sender: Sender
) -> None:
    schedule = create(alice, execution_frequency=60, repeats=3)
    run_services.run_now(schedule=schedule)
    set_active(schedule, is_active=False)
    sender.drain()

    assert give_back_repeats() == 0


def test_the_note_of_a_deleted_schedule_is_dropped(alice: ApiClient, time: list[datetime], sender: Sender) -> None:
    schedule = create(alice, execution_frequency=60, repeats=3)
    dispatch_and_skip(schedule, sender, time)
    services.delete_scheduled_execution(schedule=schedule)

    assert give_back_repeats() == 0
    assert not UnspentRepeat.objects.exists()


@pytest.mark.parametrize("change", [{"repeats": -1}, {"is_active": False}])
def test_a_change_by_the_owner_in_the_meantime_is_kept(
    alice: ApiClient, time: list[datetime], sender: Sender, change: dict[str, Any]
) -> None:
    schedule = create(alice, execution_frequency=60, repeats=3)
    dispatch_and_skip(schedule, sender, time)
    services.update_scheduled_execution(schedule=schedule, changes=change)

    give_back_repeats()

    schedule.refresh_from_db()
    assert (schedule.repeats, schedule.is_active) == ((-1, True) if "repeats" in change else (3, False))


@pytest.mark.parametrize("is_set_first", [False, True], ids=["after the note", "before the note"])
@pytest.mark.parametrize(
    ("before", "after"), [(3, 5), (3, 2), (3, 3), (1, 0), (-1, 5)], ids=lambda repeats: f"{repeats} repeats"
)
def test_an_earlier_run_gives_nothing_back_to_repeats_that_were_set_since(
    alice: ApiClient, time: list[datetime], sender: Sender, *, before: int, after: int, is_set_first: bool
) -> None:
    schedule = create(alice, execution_frequency=60, repeats=before)
    run(time, 1)
    set_active(schedule, is_active=False)
    if not is_set_first:
        sender.drain()
    services.update_scheduled_execution(schedule=schedule, changes={"repeats": after})
    sender.drain()

    assert give_back_repeats() == 0

    schedule.refresh_from_db()
    assert (schedule.repeats, schedule.is_active) == (after, before != 1)
    assert not UnspentRepeat.objects.exists()


def test_a_run_after_repeats_were_set_gives_its_repeat_back(
    alice: ApiClient, time: list[datetime], sender: Sender
) -> None:
    schedule = create(alice, execution_frequency=60, repeats=3)
    run(time, 1)
    assert change(alice, schedule, repeats=2).status_code == 200
    run(time, 2)
    set_active(schedule, is_active=False)
    sender.drain()

    assert give_back_repeats() == 1

    schedule.refresh_from_db()
    assert (schedule.repeats, schedule.is_active) == (2, True)


@pytest.mark.django_db(transaction=True)
def test_a_locked_schedule_keeps_its_note_and_blocks_nobody(
    alice: ApiClient, time: list[datetime], sender: Sender
) -> None:
    schedule = create(alice, execution_frequency=60, repeats=3)
    run(time, 1)
    set_active(schedule, is_active=False)

    with held_elsewhere(ScheduledExecution.objects.filter(pk=schedule.pk)), without_waiting():
        sender.drain()
        assert give_back_repeats() == 0
    assert give_back_repeats() == 1

    assert Delivery.objects.get().state == State.SKIPPED
