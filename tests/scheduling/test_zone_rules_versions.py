"""Dispatchers may use several versions of the time zone rules at once."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from scheduling import dispatch, zone_rules
from scheduling.models import ScheduledExecution
from scheduling.walks import ZoneRules
from scheduling.zone_rules import follow
from tests.api import ApiClient
from tests.scheduling.daily import HOUR, NINE, OVERLAP, make_daily, next_run_of
from tests.scheduling.schedules import NOON

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("rules_2026f")]


def test_there_is_a_second_walk_because_older_rules_may_be_used_during_the_first(time: list[datetime]) -> None:
    schedule = make_daily()
    follow()
    ScheduledExecution.objects.update(next_run_at=NINE + HOUR)

    time[0] += OVERLAP - timedelta(seconds=1)
    assert follow() == 0
    time[0] += timedelta(seconds=2)
    assert follow() == 1
    assert next_run_of(schedule) == NINE

    # The walk is over, so stored next runs are not looked at again.
    ScheduledExecution.objects.update(next_run_at=NINE + HOUR)
    for _ in range(5):
        time[0] += OVERLAP
        assert follow() == 0


def test_older_rules_never_change_next_runs_computed_from_newer_ones(settings: Any, time: list[datetime]) -> None:
    schedule = make_daily()
    follow()
    settings.TZDATA_VERSION = "2026a"
    ScheduledExecution.objects.update(next_run_at=NINE + HOUR)

    for _ in range(5):
        time[0] += OVERLAP
        assert follow() == 0

    assert next_run_of(schedule) == NINE + HOUR
    assert [rules.version for rules in ZoneRules.objects.all()] == ["2026f"]


def test_a_walk_stops_when_newer_rules_appear(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zone_rules, "PORTION_SIZE", 1)
    monkeypatch.setattr(zone_rules, "MAX_SECONDS_AT_ONCE", 0.0)
    for _ in range(3):
        make_daily()
    follow()
    settings.TZDATA_VERSION = "2026g"
    assert follow() == 0

    settings.TZDATA_VERSION = "2026f"
    assert follow() == 0

    settings.TZDATA_VERSION = "2026g"
    assert [follow() for _ in range(3)] == [1, 1, 0]


def test_a_walk_follows_each_minute_while_older_rules_are_used_and_once_after_that(
    settings: Any, time: list[datetime]
) -> None:
    """In a rolling upgrade, two dispatchers get new rules one after the other."""
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


def test_newer_rules_that_return_after_older_ones_were_used_again_start_a_new_walk(
    settings: Any, time: list[datetime]
) -> None:
    """An upgrade is taken back for a day."""
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
def test_only_processes_with_older_rules_note_their_use(settings: Any, version: str) -> None:
    settings.TZDATA_VERSION = "2026g"
    follow()
    settings.TZDATA_VERSION = version

    zone_rules.note_use()

    assert ZoneRules.objects.filter(version="2026f", last_used_at=NOON).exists() is (version == "2026f")
    assert ZoneRules.objects.count() == (2 if version == "2026f" else 1)


def test_dispatching_and_saving_note_the_use_of_older_rules(
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


def test_a_process_looks_for_other_versions_at_most_every_few_seconds(
    monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    monkeypatch.setattr(zone_rules, "_SECONDS_BETWEEN_LOOKS", 10.0)

    with django_assert_num_queries(1):
        for _ in range(100):
            zone_rules.note_use()
