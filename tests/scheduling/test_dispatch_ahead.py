"""Which slots are written ahead, and when."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from commands_platform.lib import clock
from deliveries.models import Delivery, State
from organizations.models import Organization
from scheduling import ahead, dispatch
from scheduling.models import DeactivationReason
from scheduling.prefetching import prefetch_last_deliveries
from scheduling.verification import Verification
from tests.factories import make_command, make_organization
from tests.scheduling.minutely import BEFORE, URL, claim, make_minutely, rows_of, written_ahead
from tests.scheduling.schedules import NOON

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _half_a_second_before_noon(time: list[datetime]) -> None:
    time[0] = BEFORE


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
def test_nothing_is_written_ahead_too_early_or_too_close_to_the_tick(time: list[datetime], before: timedelta) -> None:
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
def test_a_slot_that_depends_on_more_than_time_is_not_written_ahead(values: dict[str, Any]) -> None:
    schedule = make_minutely(**values)
    other = make_minutely()

    assert dispatch.dispatch_ahead() == 1
    assert (len(rows_of(schedule)), len(rows_of(other))) == (0, 1)


def test_a_slot_that_would_be_skipped_is_not_written_ahead(time: list[datetime]) -> None:
    organization = make_organization(is_active=False)
    schedule = make_minutely(command=make_command(organization, callback_url=URL))

    assert dispatch.dispatch_ahead() == 0
    Organization.objects.filter(pk=organization.pk).update(is_active=True)
    time[0] = NOON
    dispatch.dispatch_due()

    assert rows_of(schedule) == [(NOON, State.PENDING, "")]


def test_slots_between_two_seconds_are_not_written_ahead() -> None:
    schedules = [make_minutely(next_run_at=NOON - timedelta(milliseconds=left)) for left in (300, 1)]

    assert dispatch.dispatch_ahead() == 0
    assert [rows_of(schedule) for schedule in schedules] == [[], []]


def test_slots_that_are_not_written_ahead_do_not_hold_up_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "_AHEAD_BATCH", 2)
    inactive = make_command(make_organization(is_active=False), callback_url=URL)
    for _ in range(5):
        make_minutely(command=inactive)
    schedule = make_minutely()

    assert dispatch.dispatch_ahead() == 1
    assert rows_of(schedule) == [(NOON, State.PENDING, "")]


def test_a_schedule_that_becomes_due_does_not_wait_for_a_herd(
    time: list[datetime], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "_AHEAD_BATCH", 1)
    herd = [make_minutely() for _ in range(2)]
    single = make_minutely(execution_frequency=0, repeats=1, next_run_at=BEFORE)

    assert dispatch.dispatch_ahead() == 3
    written = {row.source_uuid: row.pk for row in Delivery.objects.all()}
    assert written[single.uuid] < max(written[schedule.uuid] for schedule in herd)


def test_a_herd_is_written_in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "_AHEAD_BATCH", 4)
    command = make_command(callback_url=URL)
    for _ in range(11):
        make_minutely(command=command)

    assert dispatch.dispatch_ahead() == 11
    assert Delivery.objects.count() == 11


def test_a_batch_has_slots_of_every_organization() -> None:
    first, last = make_command(callback_url=URL), make_command(callback_url=URL)
    for _ in range(10):
        make_minutely(command=first)
    schedule = make_minutely(command=last)

    rows, _ = ahead.write_ahead_batch(BEFORE, due_at=NOON, limit=4)

    assert rows == 3
    assert rows_of(schedule) == [(NOON, State.PENDING, "")]


def test_slots_are_written_ahead_while_a_backlog_is_dispatched(settings: Any) -> None:
    settings.DISPATCH_BATCH = 10
    late = make_command(callback_url=URL)
    for _ in range(40):
        make_minutely(command=late, execution_frequency=0, repeats=1, next_run_at=BEFORE)
    schedule = make_minutely()

    assert dispatch.dispatch_due() == 41

    written = list(Delivery.objects.order_by("id").values_list("source_uuid", flat=True))
    assert written.index(schedule.uuid) < 30
    assert rows_of(schedule) == [(NOON, State.PENDING, "")]


def test_a_backlog_gives_way_when_slots_that_were_written_ahead_are_due(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.DISPATCH_BATCH = 10
    late = make_command(callback_url=URL)
    for _ in range(100):
        make_minutely(command=late, execution_frequency=0, repeats=1, next_run_at=BEFORE)
    make_minutely()
    now = [BEFORE]
    written_before_pauses = []

    def rush_left() -> float:
        written_before_pauses.append(Delivery.objects.count())
        now[0] = NOON + timedelta(seconds=0.2)
        return 0.0

    def ask_for_help() -> None:
        now[0] = NOON

    monkeypatch.setattr(dispatch, "_MIN_HERD", 40)
    monkeypatch.setattr(dispatch, "rush_left", rush_left)
    with clock.replaced_by(lambda: now[0]):
        assert dispatch.dispatch_due(ask_for_help=ask_for_help) == 101

    assert len(written_before_pauses) == 1
    assert 40 <= written_before_pauses[0] < 60


def test_the_ledger_is_complete_before_and_after_the_slot(time: list[datetime]) -> None:
    schedule = written_ahead()

    assert list(Verification(schedule).differences()) == []
    time[0] = NOON + timedelta(seconds=1)
    assert list(Verification(schedule).differences()) == []


def test_seconds_are_written_ahead_one_by_one(time: list[datetime]) -> None:
    schedule = make_minutely(execution_frequency=0, cron="* * * * * *", cron_seconds=True)
    for second in range(3):
        time[0] = BEFORE + timedelta(seconds=second)
        assert (dispatch.dispatch_ahead(), dispatch.dispatch_ahead()) == (1, 0)

    assert [due_at for due_at, _, _ in rows_of(schedule)] == [NOON + timedelta(seconds=second) for second in range(3)]


def test_the_last_delivery_of_a_schedule_is_never_in_the_future(time: list[datetime]) -> None:
    schedule = written_ahead()

    prefetch_last_deliveries([schedule])
    assert schedule.last_delivery is None
    time[0] = NOON
    prefetch_last_deliveries([schedule])
    assert schedule.last_delivery is not None
