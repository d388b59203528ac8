"""Slots that are written shortly before their time: which ones, and that nobody notices but by their being on time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from django.db import connection, transaction

from commands_platform.lib import broker, clock
from deliveries import queue
from deliveries.models import Delivery, Reason, State
from deliveries.services import cancel_pending
from organizations.models import Organization
from scheduling import dispatch, services, zone_moves, zone_rules
from scheduling.models import DeactivationReason, ScheduledExecution, prefetch_last_deliveries
from scheduling.verification import Verification
from tests.factories import make_command, make_delivery, make_organization, make_schedule, make_user
from tests.locks import wait_for_waiters

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 2, 25, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
BEFORE = NOON - timedelta(milliseconds=500)
URL = "http://127.0.0.1:9/callback"


@pytest.fixture(autouse=True)
def time() -> Iterator[list[datetime]]:
    """The clock of the server: its one element."""
    now = [BEFORE]
    with clock.replaced_by(lambda: now[0]):
        yield now


def make_minutely(**values: Any) -> ScheduledExecution:
    """Due at noon, and each minute after it."""
    command = values.pop("command", None) or make_command(callback_url=URL)
    began = NOON - MINUTE
    return make_schedule(
        command,
        **{
            "execution_frequency": 60,
            "anchor_at": began,
            "effective_from": began,
            "next_run_at": NOON,
            "payload": {"version": 1},
            **values,
        },
    )


def written_ahead(**values: Any) -> ScheduledExecution:
    schedule = make_minutely(**values)
    assert dispatch.dispatch_ahead() == 1
    schedule.refresh_from_db()
    assert schedule.next_run_at == NOON + MINUTE
    return schedule


def rows_of(schedule: ScheduledExecution) -> list[tuple[datetime, str, str]]:
    return list(Delivery.objects.of_source(schedule.uuid).order_by("due_at").values_list("due_at", "state", "reason"))


def payloads_of(schedule: ScheduledExecution) -> list[Any]:
    rows = Delivery.objects.of_source(schedule.uuid).order_by("due_at")
    return [orjson.loads(row.body)["payload"] for row in rows]


@contextmanager
def in_thread(work: Callable[[], object]) -> Iterator[threading.Thread]:
    """A thread for `work`, not started yet, with a connection of its own; over when the context is."""

    def run() -> None:
        try:
            work()
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    yield thread
    thread.join(10)
    assert not thread.is_alive()


def claim() -> list[queue.Claim]:
    return queue.claim(limit=10, lease=MINUTE)


def test_a_slot_is_written_before_its_time_and_claimed_at_it(time: list[datetime]) -> None:
    schedule = written_ahead()

    assert rows_of(schedule) == [(NOON, State.PENDING, "")]
    assert claim() == []
    time[0] = NOON - timedelta(microseconds=1)
    assert claim() == []
    time[0] = NOON
    assert dispatch.dispatch_due() == 0
    (claimed,) = claim()
    assert claimed.lateness == timedelta()


@pytest.mark.parametrize("before", [timedelta(milliseconds=900), timedelta(milliseconds=40), timedelta()])
def test_nothing_is_written_much_too_early_nor_when_the_tick_is_near(time: list[datetime], before: timedelta) -> None:
    schedule = make_minutely()
    time[0] = NOON - before

    assert dispatch.dispatch_ahead() == 0
    assert rows_of(schedule) == []


@pytest.mark.parametrize(
    "values",
    [
        {"repeats": 5},
        {"execution_frequency": 0, "repeats": 1},
        {"overlap": "skip"},
        {"is_active": False, "deactivation_reason": DeactivationReason.PAUSED},
        {"ends_at": NOON},
        {"next_run_at": NOON + timedelta(seconds=1)},
        {"execution_frequency": 0, "cron": "no expression"},
    ],
    ids=["counted", "one-off", "no overlap", "paused", "last slot", "later", "invalid"],
)
def test_a_slot_on_which_more_than_its_time_decides_waits_for_it(values: dict[str, Any]) -> None:
    schedule = make_minutely(**values)
    other = make_minutely()

    assert dispatch.dispatch_ahead() == 1
    assert (len(rows_of(schedule)), len(rows_of(other))) == (0, 1)


def test_a_slot_that_would_be_skipped_now_waits_for_its_time(time: list[datetime]) -> None:
    organization = make_organization(is_active=False)
    schedule = make_minutely(command=make_command(organization, callback_url=URL))

    assert dispatch.dispatch_ahead() == 0
    Organization.objects.filter(pk=organization.pk).update(is_active=True)
    time[0] = NOON
    dispatch.dispatch_due()

    assert rows_of(schedule) == [(NOON, State.PENDING, "")]


def test_slots_between_two_seconds_wait_for_their_time() -> None:
    schedules = [make_minutely(next_run_at=NOON - timedelta(milliseconds=left)) for left in (300, 1)]

    assert dispatch.dispatch_ahead() == 0
    assert [rows_of(schedule) for schedule in schedules] == [[], []]


def test_what_is_left_to_its_time_holds_up_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "_AHEAD_BATCH", 2)
    inactive = make_command(make_organization(is_active=False), callback_url=URL)
    for _ in range(5):
        make_minutely(command=inactive)
    schedule = make_minutely()

    assert dispatch.dispatch_ahead() == 1
    assert rows_of(schedule) == [(NOON, State.PENDING, "")]


def test_what_becomes_due_meanwhile_does_not_wait_for_a_herd(
    time: list[datetime], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "_AHEAD_BATCH", 1)
    herd = [make_minutely() for _ in range(2)]
    single = make_minutely(execution_frequency=0, repeats=1, next_run_at=BEFORE)

    assert dispatch.dispatch_ahead() == 3
    written = {row.source_uuid: row.pk for row in Delivery.objects.all()}
    assert written[single.uuid] < max(written[schedule.uuid] for schedule in herd)


def test_a_herd_is_written_in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "_AHEAD_BATCH", 4)
    command = make_command(callback_url=URL)
    for _ in range(11):
        make_minutely(command=command)

    assert dispatch.dispatch_ahead() == 11
    assert Delivery.objects.count() == 11


def test_the_ledger_is_whole_before_and_after_the_slots_time(time: list[datetime]) -> None:
    schedule = written_ahead()

    assert list(Verification(schedule).differences()) == []
    time[0] = NOON + timedelta(seconds=1)
    assert list(Verification(schedule).differences()) == []


def test_a_change_before_its_time_is_in_the_callback(time: list[datetime]) -> None:
    schedule = written_ahead()

    services.update_scheduled_execution(schedule=schedule, changes={"payload": {"version": 2}})
    time[0] = NOON
    dispatch.dispatch_due()

    assert rows_of(schedule) == [(NOON, State.PENDING, "")]
    assert payloads_of(schedule) == [{"version": 2}]


def test_a_timing_that_ends_before_a_slots_time_has_no_such_slot(time: list[datetime]) -> None:
    schedule = written_ahead()

    services.update_scheduled_execution(schedule=schedule, changes={"execution_frequency": 7})
    time[0] = NOON
    dispatch.dispatch_due()

    assert rows_of(schedule) == []
    schedule.refresh_from_db()
    assert schedule.next_run_at == NOON + timedelta(seconds=7)


def test_what_is_paused_before_its_time_is_accounted_for_when_it_is_resumed(time: list[datetime]) -> None:
    schedule = written_ahead()

    services.pause(schedule=schedule)
    assert rows_of(schedule) == []
    time[0] = NOON + timedelta(seconds=30)
    schedule.refresh_from_db()
    services.resume(schedule=schedule)

    assert rows_of(schedule) == [(NOON, State.SKIPPED, Reason.PAUSED)]


def test_a_schedule_that_is_deleted_before_a_slots_time_leaves_no_row() -> None:
    schedule = written_ahead()

    services.delete_scheduled_execution(schedule=schedule)

    assert rows_of(schedule) == []


def test_an_extra_run_before_its_time_changes_nothing(time: list[datetime]) -> None:
    schedule = written_ahead()

    services.run_now(schedule=schedule)
    time[0] = NOON
    dispatch.dispatch_due()

    assert rows_of(schedule) == [(BEFORE, State.PENDING, ""), (NOON, State.PENDING, "")]


def test_what_a_sender_has_in_hand_is_not_withdrawn(time: list[datetime]) -> None:
    schedule = written_ahead()
    time[0] = NOON
    assert len(claim()) == 1
    # The clock steps back.
    time[0] = BEFORE

    services.update_scheduled_execution(schedule=schedule, changes={"payload": {"version": 2}})
    time[0] = NOON
    dispatch.dispatch_due()

    assert rows_of(schedule) == [(NOON, State.PENDING, Reason.SCHEDULE_CHANGED)]


def test_retries_and_later_slots_of_others_are_not_withdrawn() -> None:
    schedule = written_ahead()
    retried = make_delivery(
        schedule.command,
        source_uuid=schedule.uuid,
        due_at=NOON - MINUTE,
        next_attempt_at=NOON + MINUTE,
        attempt_count=1,
    )
    other = written_ahead()

    services.update_scheduled_execution(schedule=schedule, changes={"name": "renamed"})

    retried.refresh_from_db()
    assert (retried.state, retried.reason) == (State.PENDING, "")
    assert rows_of(schedule) == [(NOON - MINUTE, State.PENDING, "")]
    assert rows_of(other) == [(NOON, State.PENDING, "")]


def test_somebody_who_moves_before_its_time_moves_the_slot() -> None:
    user = make_user(timezone="UTC")
    command = make_command(user.organization, callback_url=URL)
    schedule = make_minutely(
        command=command, owner=user, execution_frequency=0, cron="0 12 * * *", timezone_type="user_timezone"
    )
    assert dispatch.dispatch_ahead() == 1

    user.timezone = "Asia/Tokyo"
    user.save()
    zone_moves.follow()

    schedule.refresh_from_db()
    assert schedule.next_run_at == datetime(2026, 2, 26, 3, 0, tzinfo=UTC)
    assert rows_of(schedule) == []


def test_newer_zone_rules_withdraw_what_older_ones_wrote_ahead(settings: Any) -> None:
    schedule = written_ahead(execution_frequency=0, cron="* * * * *")
    # As older rules would have had it.
    ScheduledExecution.objects.filter(pk=schedule.pk).update(next_run_at=NOON + timedelta(hours=1))

    settings.TZDATA_VERSION = "2099a"
    assert zone_rules.follow() == 1

    schedule.refresh_from_db()
    assert (schedule.next_run_at, rows_of(schedule)) == (NOON, [])


def test_newer_zone_rules_that_change_nothing_leave_it_where_it_is(settings: Any) -> None:
    schedule = written_ahead(execution_frequency=0, cron="* * * * *")

    settings.TZDATA_VERSION = "2099a"
    assert zone_rules.follow() == 0

    assert rows_of(schedule) == [(NOON, State.PENDING, "")]


def test_a_schedule_that_is_deactivated_before_a_slots_time_has_it_cancelled(time: list[datetime]) -> None:
    schedule = written_ahead()
    ScheduledExecution.objects.filter(pk=schedule.pk).update(
        is_active=False, deactivation_reason=DeactivationReason.FAILING
    )
    cancel_pending(source_uuids=[schedule.uuid], reason=Reason.SCHEDULE_DEACTIVATED)

    schedule.refresh_from_db()
    services.resume(schedule=schedule)
    time[0] = NOON + timedelta(seconds=1)
    dispatch.dispatch_due()

    assert rows_of(schedule) == [(NOON, State.CANCELLED, Reason.SCHEDULE_DEACTIVATED)]


def test_after_a_clock_has_stepped_back_every_slot_is_withdrawn_and_comes_again(time: list[datetime]) -> None:
    schedule = make_minutely(execution_frequency=1)
    for second in range(3):
        time[0] = BEFORE + timedelta(seconds=second)
        assert dispatch.dispatch_ahead() == 1
    time[0] = BEFORE

    schedule.refresh_from_db()
    services.update_scheduled_execution(schedule=schedule, changes={"payload": {"version": 2}})
    assert rows_of(schedule) == []
    time[0] = NOON + timedelta(seconds=2)
    dispatch.dispatch_due()

    assert [due_at for due_at, _, _ in rows_of(schedule)] == [NOON + timedelta(seconds=second) for second in range(3)]
    assert payloads_of(schedule) == [{"version": 2}] * 3


@pytest.mark.parametrize("repeats", [5, 1])
def test_what_was_written_in_its_time_stays_when_the_clock_steps_back(time: list[datetime], repeats: int) -> None:
    schedule = make_minutely(repeats=repeats)
    time[0] = NOON
    dispatch.dispatch_due()
    time[0] = BEFORE

    schedule.refresh_from_db()
    services.update_scheduled_execution(schedule=schedule, changes={"name": "renamed"})

    assert rows_of(schedule) == [(NOON, State.PENDING, "")]
    assert schedule.repeats == repeats - 1


def test_seconds_are_written_ahead_one_by_one(time: list[datetime]) -> None:
    schedule = make_minutely(execution_frequency=0, cron="* * * * * *", cron_seconds=True)
    for second in range(3):
        time[0] = BEFORE + timedelta(seconds=second)
        assert (dispatch.dispatch_ahead(), dispatch.dispatch_ahead()) == (1, 0)

    assert [due_at for due_at, _, _ in rows_of(schedule)] == [NOON + timedelta(seconds=second) for second in range(3)]


def test_the_latest_delivery_is_none_that_is_still_to_come(time: list[datetime]) -> None:
    schedule = written_ahead()

    prefetch_last_deliveries([schedule])
    assert schedule.last_delivery is None
    time[0] = NOON
    prefetch_last_deliveries([schedule])
    assert schedule.last_delivery is not None


@pytest.fixture
def hints(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tasks that were asked for."""
    hints: list[str] = []
    monkeypatch.setattr(broker, "send_hint", lambda task: hints.append(task.name))
    return hints


@pytest.mark.parametrize("milliseconds", [-20, 300], ids=["in time", "late"])
def test_the_tick_wakes_as_many_senders_as_there_is_work_for(
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


def test_a_sender_is_woken_before_what_only_the_tick_can_write(time: list[datetime], hints: list[str]) -> None:
    make_minutely(repeats=2)
    time[0] = NOON - timedelta(milliseconds=20)

    dispatch.tick()

    assert hints == ["deliveries.deliver_pending"]


def test_a_tick_with_nothing_to_come_wakes_nobody(time: list[datetime], hints: list[str]) -> None:
    make_minutely(next_run_at=NOON + MINUTE)
    time[0] = NOON - timedelta(milliseconds=20)

    assert dispatch.tick() == 0

    assert hints == []


def test_a_tick_during_which_the_second_begins_looks_after_it_has_begun() -> None:
    """By the clock of each look: before the second, before it, and after."""
    schedule = make_minutely(repeats=2)
    instants = iter([NOON - timedelta(milliseconds=2), NOON - timedelta(milliseconds=1)])

    with clock.replaced_by(lambda: next(instants, NOON + timedelta(milliseconds=1))):
        assert dispatch.tick() == 1

    assert rows_of(schedule) == [(NOON, State.PENDING, "")]


def test_for_what_has_waited_longer_one_sender_is_woken(time: list[datetime], hints: list[str]) -> None:
    for _ in range(3):
        make_delivery(url=URL, now=NOON - MINUTE)
    time[0] = NOON + timedelta(milliseconds=300)

    dispatch.tick()

    assert hints == ["deliveries.deliver_pending"]


def test_a_change_shortly_before_its_time_has_the_dispatcher_look_again(
    hints: list[str], django_capture_on_commit_callbacks: Any
) -> None:
    schedule = written_ahead()

    with django_capture_on_commit_callbacks(execute=True):
        services.update_scheduled_execution(schedule=schedule, changes={"name": "renamed"})

    assert hints == ["scheduling.dispatch_due"]


@pytest.mark.django_db(transaction=True)
def test_a_change_waits_for_the_dispatcher_that_writes_ahead_and_withdraws_what_it_wrote() -> None:
    schedule = make_minutely()

    def change() -> None:
        services.update_scheduled_execution(schedule=schedule, changes={"payload": {"version": 2}})

    with in_thread(change) as changing, transaction.atomic():
        dispatch.write_ahead_batch(BEFORE, due_at=NOON, limit=10)
        changing.start()
        wait_for_waiters(1)
    schedule.refresh_from_db()

    assert (rows_of(schedule), schedule.next_run_at, schedule.payload) == ([], NOON, {"version": 2})


@pytest.mark.django_db(transaction=True)
def test_a_withdrawal_waits_for_a_claim_and_leaves_its_row(time: list[datetime]) -> None:
    schedule = written_ahead()

    def change() -> None:
        services.update_scheduled_execution(schedule=schedule, changes={"name": "renamed"})

    with in_thread(change) as changing, transaction.atomic():
        time[0] = NOON
        assert len(claim()) == 1
        time[0] = BEFORE
        changing.start()
        wait_for_waiters(1)
    schedule.refresh_from_db()

    assert (rows_of(schedule), schedule.next_run_at) == ([(NOON, State.PENDING, "")], NOON + MINUTE)
