"""Next runs follow the rules of time zones, when a dispatcher comes with newer ones."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import Error, connection, transaction

from commands_platform.lib import clock
from deliveries.models import Delivery, Reason
from events.models import Hook
from scheduling import dispatch, services, zone_rules
from scheduling.models import DeactivationReason, ScheduledExecution, ZoneRules
from scheduling.zone_rules import follow
from tests.api import ApiClient
from tests.factories import make_command, make_organization, make_schedule, make_user

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 2, 25, 12, 0, tzinfo=UTC)
# Nine o'clock in Berlin, the next morning.
NINE = datetime(2026, 2, 26, 8, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
OVERLAP = ZoneRules.OVERLAP
URL = "http://127.0.0.1:9/callback"


@pytest.fixture(autouse=True)
def time() -> Iterator[list[datetime]]:
    """The clock of the server: its one element."""
    now = [NOON]
    with clock.replaced_by(lambda: now[0]):
        yield now


@pytest.fixture(autouse=True)
def _a_process_looks_for_other_versions_each_time(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.TZDATA_VERSION = "2026f"
    monkeypatch.setattr(zone_rules, "_SECONDS_BETWEEN_LOOKS", 0.0)
    monkeypatch.setattr(zone_rules, "_next_look_at", 0.0)


def make_daily(**values: Any) -> ScheduledExecution:
    """Each morning at nine in Berlin; unless told otherwise, its next run is an hour off, as by other rules."""
    command = values.pop("command", None) or make_command(make_organization(timezone="Europe/Berlin"), callback_url=URL)
    began = NOON - timedelta(days=9)
    return make_schedule(
        command,
        **{
            "cron": "0 9 * * *",
            "execution_frequency": 0,
            "anchor_at": began,
            "effective_from": began,
            "next_run_at": NINE + HOUR,
            **values,
        },
    )


def next_run_of(schedule: ScheduledExecution) -> datetime | None:
    schedule.refresh_from_db()
    return schedule.next_run_at


def told(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """What the walk logged, without what every line has."""
    lines: list[Any] = [record.msg for record in caplog.records if record.name == zone_rules.__name__]
    return [
        {key: value for key, value in line.items() if key not in {"logger", "level", "timestamp"}} for line in lines
    ]


def test_newer_rules_move_what_older_ones_gave(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    moved, right = make_daily(), make_daily(next_run_at=NINE)

    assert follow() == 1

    assert next_run_of(moved) == next_run_of(right) == NINE
    assert moved.effective_from == moved.updated_at == NOON
    assert right.effective_from == NOON - timedelta(days=9)
    assert told(caplog) == [
        {"event": "next_runs_recompute_began", "zone_rules": "2026f"},
        {"event": "next_runs_recomputed", "zone_rules": "2026f", "seen": 2, "changed": 1, "held": 0, "invalid": 0},
    ]


@pytest.mark.parametrize(
    ("timezone_type", "expected"),
    [
        ("organization_timezone", NINE),
        ("user_timezone", datetime(2026, 2, 25, 14, tzinfo=UTC)),
        ("custom_timezone", datetime(2026, 2, 26, tzinfo=UTC)),
    ],
)
def test_the_zone_is_that_of_the_organization_the_user_or_the_schedule(timezone_type: str, expected: datetime) -> None:
    organization = make_organization(timezone="Europe/Berlin")
    schedule = make_daily(
        command=make_command(organization, callback_url=URL),
        owner=make_user(organization, timezone="America/New_York"),
        timezone_type=timezone_type,
        timezone="Asia/Tokyo",
    )

    assert follow() == 1

    assert next_run_of(schedule) == expected


@pytest.mark.parametrize(
    "values",
    [
        pytest.param({"cron": "", "execution_frequency": 3600}, id="a period"),
        pytest.param({"cron": ""}, id="a single run"),
        pytest.param({"is_active": False, "deactivation_reason": "paused"}, id="paused"),
        pytest.param({"next_run_at": NOON}, id="due"),
        pytest.param({"next_run_at": NOON - HOUR / 2}, id="late"),
    ],
)
def test_others_stay_as_they_are(values: dict[str, Any]) -> None:
    schedule = make_daily(**values)
    before = ScheduledExecution.objects.filter(pk=schedule.pk).values().get()

    assert follow() == 0

    assert ScheduledExecution.objects.filter(pk=schedule.pk).values().get() == before


def test_what_is_due_is_dispatched_and_goes_on_by_the_new_rules() -> None:
    schedule = make_daily(next_run_at=NOON - HOUR)

    follow()
    dispatch.dispatch_due()

    assert [row.due_at for row in schedule.slots()] == [NOON - HOUR]
    assert next_run_of(schedule) == NINE


def test_where_there_are_no_schedules_the_walk_is_over_at_once_and_later_looks_cost_little(
    time: list[datetime], django_assert_num_queries: Any
) -> None:
    assert follow() == 0
    time[0] += 2 * OVERLAP
    assert follow() == 0
    assert ZoneRules.objects.get().began_at == time[0]
    time[0] += 2 * OVERLAP

    # Two for what is known, one for the lock, and the savepoint that a transaction is inside a test.
    with django_assert_num_queries(5):
        assert follow() == 0


def test_a_walk_is_made_twice_since_others_may_have_used_older_rules_during_the_first(time: list[datetime]) -> None:
    schedule = make_daily()
    follow()
    ScheduledExecution.objects.update(next_run_at=NINE + HOUR)

    time[0] += OVERLAP - timedelta(seconds=1)
    assert follow() == 0
    time[0] += timedelta(seconds=2)
    assert follow() == 1
    assert next_run_of(schedule) == NINE

    # That was all: what is stored is not looked at again.
    ScheduledExecution.objects.update(next_run_at=NINE + HOUR)
    for _ in range(5):
        time[0] += OVERLAP
        assert follow() == 0


def test_it_goes_in_portions_soonest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zone_rules, "_ROWS_AT_ONCE", 4)
    monkeypatch.setattr(zone_rules, "_SECONDS_AT_ONCE", 0.0)
    schedules = [make_daily(next_run_at=NINE + number * HOUR) for number in range(10, 0, -1)]

    assert [follow() for _ in range(4)] == [4, 4, 2, 0]

    assert ScheduledExecution.objects.filter(next_run_at=NINE).count() == 10
    assert next_run_of(schedules[-1]) == NINE


def test_the_first_portion_is_what_is_due_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zone_rules, "_ROWS_AT_ONCE", 1)
    monkeypatch.setattr(zone_rules, "_SECONDS_AT_ONCE", 0.0)
    late, soon = make_daily(next_run_at=NINE + 2 * HOUR), make_daily(next_run_at=NINE - HOUR)

    follow()

    assert (next_run_of(soon), next_run_of(late)) == (NINE, NINE + 2 * HOUR)


def test_a_herd_at_one_instant_is_taken_in_portions_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zone_rules, "_ROWS_AT_ONCE", 3)
    command = make_command(make_organization(timezone="Europe/Berlin"), callback_url=URL)
    for _ in range(10):
        make_daily(command=command)

    assert follow() == 10


def test_a_portion_costs_the_same_statements_for_one_and_for_many(django_assert_max_num_queries: Any) -> None:
    command = make_command(make_organization(timezone="Europe/Berlin"), callback_url=URL)
    for _ in range(50):
        make_daily(command=command)

    # With the first look, and the last one, which finds nothing left.
    with django_assert_max_num_queries(17):
        assert follow() == 50


def test_older_rules_change_nothing_that_newer_ones_gave(settings: Any, time: list[datetime]) -> None:
    schedule = make_daily()
    follow()
    settings.TZDATA_VERSION = "2026a"
    ScheduledExecution.objects.update(next_run_at=NINE + HOUR)

    for _ in range(5):
        time[0] += OVERLAP
        assert follow() == 0

    assert next_run_of(schedule) == NINE + HOUR
    assert [rules.version for rules in ZoneRules.objects.all()] == ["2026f"]


def test_a_walk_by_rules_that_are_not_the_newest_any_more_stops(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zone_rules, "_ROWS_AT_ONCE", 1)
    monkeypatch.setattr(zone_rules, "_SECONDS_AT_ONCE", 0.0)
    for _ in range(3):
        make_daily()
    follow()
    settings.TZDATA_VERSION = "2026g"
    assert follow() == 0

    settings.TZDATA_VERSION = "2026f"
    assert follow() == 0

    settings.TZDATA_VERSION = "2026g"
    assert [follow() for _ in range(3)] == [1, 1, 0]


def test_as_long_as_older_rules_are_used_too_there_is_a_walk_a_minute_and_one_after_the_last_use(
    settings: Any, time: list[datetime]
) -> None:
    """A rolling upgrade: two dispatchers with their rules, one after the other."""
    schedule = make_daily()
    settings.TZDATA_VERSION = "2026g"
    follow()
    walks = 0
    for minute in range(60):
        time[0] = NOON + minute * OVERLAP
        if minute < 10:
            settings.TZDATA_VERSION = "2026f"
            zone_rules.note_use()
            ScheduledExecution.objects.update(next_run_at=NINE + HOUR)
            settings.TZDATA_VERSION = "2026g"
        walks += follow()

    assert next_run_of(schedule) == NINE
    assert 9 <= walks <= 12
    assert ZoneRules.objects.get(version="2026g").began_at < NOON + 13 * OVERLAP  # type: ignore[operator]


def test_newer_rules_that_come_back_after_older_ones_were_used_again_are_followed_again(
    settings: Any, time: list[datetime]
) -> None:
    """An upgrade that is taken back for a day."""
    schedule = make_daily(next_run_at=NOON - HOUR)
    settings.TZDATA_VERSION = "2026g"
    for _ in range(3):
        time[0] += OVERLAP
        follow()

    settings.TZDATA_VERSION = "2026f"
    dispatch.dispatch_due()
    ScheduledExecution.objects.update(next_run_at=NINE + HOUR)
    settings.TZDATA_VERSION = "2026g"
    time[0] += 5 * HOUR

    assert follow() == 1
    assert next_run_of(schedule) == NINE


@pytest.mark.parametrize("version", ["2026f", "2026g", "2027a"])
def test_a_use_is_told_by_older_rules_alone(settings: Any, version: str) -> None:
    settings.TZDATA_VERSION = "2026g"
    follow()
    settings.TZDATA_VERSION = version

    zone_rules.note_use()

    assert ZoneRules.objects.filter(version="2026f", last_used_at=NOON).exists() is (version == "2026f")
    assert ZoneRules.objects.count() == (2 if version == "2026f" else 1)


def test_a_dispatcher_that_writes_and_a_web_that_saves_tell_of_older_rules(
    settings: Any, time: list[datetime], alice: ApiClient, django_capture_on_commit_callbacks: Any
) -> None:
    settings.TZDATA_VERSION = "2026g"
    follow()
    settings.TZDATA_VERSION = "2026f"
    make_daily(next_run_at=NOON)
    dispatch.dispatch_due()
    assert ZoneRules.objects.get(version="2026f").last_used_at == NOON

    time[0] += HOUR
    with django_capture_on_commit_callbacks(execute=True):
        alice.post("/v1/platform/scheduling/", {"name": "report", "cron": "0 9 * * *"})

    assert ZoneRules.objects.get(version="2026f").last_used_at == NOON + HOUR


def test_a_process_looks_for_other_versions_every_few_seconds_at_most(
    monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    monkeypatch.setattr(zone_rules, "_SECONDS_BETWEEN_LOOKS", 10.0)

    with django_assert_num_queries(1):
        for _ in range(100):
            zone_rules.note_use()


def test_a_zone_that_is_gone_stops_nothing_and_its_schedule_ends_when_it_is_due(
    time: list[datetime], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    gone = make_daily(timezone_type="custom_timezone", timezone="Europe/Atlantis", next_run_at=NINE - HOUR)
    other = make_daily()

    assert follow() == 1
    assert next_run_of(other) == NINE
    assert (next_run_of(gone), gone.is_active) == (NINE - HOUR, True)
    assert told(caplog)[-1]["invalid"] == 1

    time[0] = NINE
    dispatch.dispatch_due()
    gone.refresh_from_db()
    assert (gone.is_active, gone.deactivation_reason) == (False, DeactivationReason.INVALID)
    assert [row.reason for row in gone.slots()] == [Reason.INVALID_SCHEDULE]
    assert other.slots().count() == 1


def test_a_schedule_that_ends_before_its_next_run_by_the_new_rules_is_completed() -> None:
    schedule = make_daily(next_run_at=NINE - HOUR, ends_at=NINE - HOUR / 2)
    hook = Hook.objects.create(
        organization=schedule.organization, command=schedule.command, subscriptions=["platform.schedule.completed"]
    )

    assert follow() == 1

    assert next_run_of(schedule) is None
    assert (schedule.is_active, schedule.deactivation_reason) == (False, DeactivationReason.COMPLETED)
    assert Delivery.objects.filter(destination=hook.destination).count() == 1


def test_a_schedule_that_was_paused_since_it_was_looked_at_is_left_alone() -> None:
    schedule = make_daily(is_active=False, deactivation_reason=DeactivationReason.PAUSED)

    assert zone_rules._move([schedule.pk], ZoneRules(version="2026f")) == 0

    assert next_run_of(schedule) == NINE + HOUR


def test_the_ledger_is_what_the_rules_say_before_and_after(time: list[datetime]) -> None:
    """Older rules fired an hour late; what they did is not held against the new ones."""
    schedule = make_daily(effective_from=NOON - HOUR, next_run_at=NOON - HOUR / 2)
    dispatch.dispatch_due()
    ScheduledExecution.objects.update(next_run_at=NINE + HOUR)

    follow()
    time[0] = NINE + HOUR
    dispatch.dispatch_due()

    output = StringIO()
    call_command("verify_ledger", stdout=output)
    assert output.getvalue() == "1 schedules, 1 slots, 0 differences\n"
    assert [row.due_at for row in schedule.slots()][-1] == NINE


@pytest.mark.django_db(transaction=True)
def test_after_a_crash_in_the_middle_the_walk_goes_on_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zone_rules, "_ROWS_AT_ONCE", 2)
    schedules = [make_daily(next_run_at=NINE + number * HOUR) for number in range(1, 8)]
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION crash() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END $$"
        )
        cursor.execute(
            "CREATE TRIGGER crash BEFORE UPDATE ON scheduling_scheduledexecution FOR EACH ROW "
            f"WHEN (OLD.id = {schedules[4].pk}) EXECUTE FUNCTION crash()"
        )

    with pytest.raises(Error):
        follow()
    connection.close()

    assert [next_run_of(each) == NINE for each in schedules] == [True] * 4 + [False] * 3
    with connection.cursor() as cursor:
        cursor.execute("DROP TRIGGER crash ON scheduling_scheduledexecution; DROP FUNCTION crash")
    assert follow() == 3
    rules = ZoneRules.objects.get()
    assert (rules.seen, rules.changed, rules.is_under_way) == (7, 7, False)


@pytest.mark.django_db(transaction=True)
def test_dispatchers_that_notice_at_once_share_one_walk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zone_rules, "_ROWS_AT_ONCE", 5)
    command = make_command(make_organization(timezone="Europe/Berlin"), callback_url=URL)
    for _ in range(60):
        make_daily(command=command)
    barrier = threading.Barrier(3)
    counts: list[int] = []

    def run() -> None:
        barrier.wait()
        try:
            while not ZoneRules.objects.exclude(finished_at=None).exists():
                counts.append(follow())
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(counts) == 60
    rules = ZoneRules.objects.get()
    assert (rules.seen, rules.changed, rules.held) == (60, 60, 0)


@pytest.mark.django_db(transaction=True)
def test_while_one_walks_others_wait_for_nothing_and_dispatch_goes_on(time: list[datetime]) -> None:
    make_daily()
    due = make_daily(next_run_at=NOON)
    ZoneRules.objects.create(version="2026f", first_used_at=NOON)
    walking, release = threading.Event(), threading.Event()

    def walk() -> None:
        try:
            with transaction.atomic():
                zone_rules._walk_on("2026f")
                walking.set()
                release.wait(20)
        finally:
            connection.close()

    walker = threading.Thread(target=walk)
    walker.start()
    walking.wait(10)

    assert follow() == 0
    assert dispatch.dispatch_due() == 1
    assert walker.is_alive()
    release.set()
    walker.join()

    assert due.slots().count() == 1
    assert ZoneRules.objects.get().changed == 1


@pytest.mark.django_db(transaction=True)
def test_a_schedule_that_somebody_holds_is_not_waited_for_and_found_by_the_next_walk(time: list[datetime]) -> None:
    schedule, other = make_daily(), make_daily()
    follow()
    time[0] += 2 * OVERLAP
    follow()
    ScheduledExecution.objects.update(next_run_at=NINE + HOUR)
    ZoneRules.objects.update(began_at=None, reached_at=None, finished_at=None)
    locked, release = threading.Event(), threading.Event()

    def hold() -> None:
        try:
            with transaction.atomic():
                ScheduledExecution.objects.select_for_update().get(pk=schedule.pk)
                locked.set()
                release.wait(20)
        finally:
            connection.close()

    holder = threading.Thread(target=hold)
    holder.start()
    locked.wait(10)
    assert follow() == 1
    assert holder.is_alive()
    release.set()
    holder.join()
    assert (next_run_of(schedule), next_run_of(other)) == (NINE + HOUR, NINE)

    time[0] += 2 * OVERLAP
    assert follow() == 1
    assert next_run_of(schedule) == NINE


def test_a_schedule_that_is_resumed_goes_on_by_the_rules_of_that_moment() -> None:
    schedule = make_daily(is_active=False, deactivation_reason=DeactivationReason.PAUSED)
    follow()

    services.resume(schedule=schedule)

    assert next_run_of(schedule) == NINE
