"""Walks after new zone rules meet crashes, other dispatchers and locked rows."""

from __future__ import annotations

import threading
from datetime import datetime

import pytest
from django.db import Error, connection, transaction

from scheduling import dispatch, zone_rules
from scheduling.models import ScheduledExecution
from scheduling.walks import ZoneRules
from scheduling.zone_rules import follow
from tests.factories import make_command, make_organization
from tests.scheduling.daily import HOUR, NINE, OVERLAP, make_daily, next_run_of
from tests.scheduling.schedules import NOON, URL

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("rules_2026f")]


@pytest.mark.django_db(transaction=True)
def test_the_walk_continues_where_it_was_after_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zone_rules, "PORTION_SIZE", 2)
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
def test_dispatchers_that_notice_new_rules_at_once_share_one_walk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zone_rules, "PORTION_SIZE", 5)
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
def test_other_dispatchers_do_not_wait_during_a_walk(time: list[datetime]) -> None:
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
def test_the_walk_skips_a_locked_schedule_and_the_next_walk_finds_it(time: list[datetime]) -> None:
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
