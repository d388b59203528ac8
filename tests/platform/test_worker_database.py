"""How processes use the database: no process holds a lock, or waits for one, for ever."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import ProgrammingError, connection, connections

from commands_platform import settings
from commands_platform.lib.database.availability import retry_while_away
from commands_platform.local.ports import free_port
from scheduling import tasks
from tests.locks import pause_for_too_long

IDLE = "idle_in_transaction_session_timeout=30s"
LOCK = "lock_timeout=5s"
SHORT_LOCK = "lock_timeout=2s"


@pytest.mark.parametrize(
    ("process", "serves_pages", "expected"),
    [
        ("web", True, {IDLE: True, LOCK: False, SHORT_LOCK: True}),
        ("dispatcher", False, {IDLE: True, LOCK: True}),
        ("deliverer", False, {IDLE: True, LOCK: True}),
        ("commands-platform", True, {IDLE: False, LOCK: False, SHORT_LOCK: False}),
    ],
)
def test_no_process_stays_idle_in_a_transaction_or_waits_for_a_lock_for_long(
    monkeypatch: pytest.MonkeyPatch, process: str, serves_pages: bool, expected: dict[str, bool]
) -> None:
    monkeypatch.setattr(settings, "PROCESS_NAME", process)
    monkeypatch.setattr(settings, "SERVES_PAGES", serves_pages)

    options = settings._database()["OPTIONS"].get("options", "")

    assert {option: option in options for option in expected} == expected


def test_after_a_long_outage_the_pool_does_not_wait_longer_than_its_callers_before_it_connects(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DATABASE_POOL_SIZE", "8")

    pool = settings._database()["OPTIONS"]["pool"]

    assert pool["reconnect_timeout"] <= pool["timeout"]


def test_a_connection_whose_other_end_has_disappeared_is_given_up_within_seconds_by_both_ends() -> None:
    options = settings._database()["OPTIONS"]

    assert (options["tcp_user_timeout"], options["keepalives_idle"]) == (5000, 2)
    assert "-c tcp_user_timeout=5000" in options["options"]
    assert "-c tcp_keepalives_idle=2" in options["options"]


def test_options_in_the_database_url_take_precedence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "PROCESS_NAME", "dispatcher")
    monkeypatch.setattr(settings, "DATABASE_URL", f"{settings.DATABASE_URL}&options=-c%20lock_timeout%3D1s")

    assert settings._database()["OPTIONS"]["options"].endswith(" -c lock_timeout=1s")


@pytest.fixture
def database_is_away(db: None) -> Iterator[None]:
    """Points the default connection at a port where nothing listens, until the end of the test."""
    present = connections["default"]
    away = connection.copy()
    away.settings_dict |= {"HOST": "127.0.0.1", "PORT": free_port()}
    connections["default"] = away
    yield
    connections["default"] = present


@pytest.mark.usefixtures("database_is_away")
def test_a_task_logs_one_line_and_returns_if_the_database_is_away(caplog: pytest.LogCaptureFixture) -> None:
    tasks.dispatch_due()

    (record,) = caplog.records
    logged: Any = record.msg
    assert (logged["event"], logged["task"]) == ("database_was_unavailable", "scheduling.dispatch_due")
    assert record.exc_info is None


@pytest.mark.django_db
def test_a_task_does_not_catch_other_database_errors() -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE scheduling_scheduledexecution RENAME COLUMN cron TO no_cron")

    with pytest.raises(ProgrammingError):
        tasks.dispatch_due()


@pytest.mark.django_db(transaction=True)
def test_a_sender_frozen_in_mid_transaction_writes_its_outcomes_over_a_new_connection() -> None:
    pauses = iter([pause_for_too_long])

    def record() -> int:
        for pause in pauses:
            pause()
        with connection.cursor() as cursor:
            cursor.execute("SELECT 7")
            return int(cursor.fetchone()[0])

    assert retry_while_away(record, patience=0) == 7
