"""`manage.py verify_ledger` compares the ledger with the rules of the schedules."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command

from commands_platform.lib import clock
from deliveries.models import Delivery, Kind, Reason, State
from scheduling import dispatch, run_services, services, zone_moves
from scheduling.models import ScheduledExecution
from tests.factories import make_command, make_delivery, make_schedule, make_user

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 2, 25, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
URL = "http://127.0.0.1:9/callback"


@pytest.fixture
def time() -> Iterator[list[datetime]]:
    """Replaces the server's clock by the single element of a list."""
    now = [NOON]
    with clock.replaced_by(lambda: now[0]):
        yield now


def make_minutely(**values: Any) -> ScheduledExecution:
    """Makes a schedule that begins at noon. Its first slot is at 12:01."""
    return make_schedule(
        make_command(callback_url=URL),
        **{
            "execution_frequency": 60,
            "anchor_at": NOON,
            "effective_from": NOON,
            "next_run_at": NOON + MINUTE,
            **values,
        },
    )


def run(time: list[datetime], *minutes: float) -> None:
    """Dispatches at these minutes after noon."""
    for minute in minutes:
        time[0] = NOON + minute * MINUTE
        dispatch.dispatch_due()


def verify(*arguments: str) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Returns the differences, without the schedule, and the totals."""
    output = StringIO()
    with suppress(CommandError):
        call_command("verify_ledger", "--json", *arguments, stdout=output)
    *differences, totals = [json.loads(line) for line in output.getvalue().splitlines()]
    assert totals["differences"] == len(differences)
    return [{key: value for key, value in found.items() if key != "schedule"} for found in differences], totals


def at(minute: float) -> str:
    return (NOON + minute * MINUTE).isoformat().replace("+00:00", "Z")


def test_a_complete_ledger_has_no_differences(time: list[datetime]) -> None:
    schedule = make_minutely()
    run(time, *range(1, 8), 27)
    run_services.run_now(schedule=schedule)
    run(time, 28.5)

    assert verify() == ([], {"schedules": 1, "slots": 28, "differences": 0})


def test_consecutive_missing_slots_are_reported_as_one_difference(time: list[datetime]) -> None:
    schedule = make_minutely()
    run(time, *range(1, 11))
    schedule.slots().filter(due_at__in=[NOON + minute * MINUTE for minute in (1, 4, 5, 6, 10)]).delete()

    differences, _ = verify()

    assert differences == [
        {"difference": "missing", "count": 1, "first": at(1), "last": at(1)},
        {"difference": "missing", "count": 3, "first": at(4), "last": at(6)},
        {"difference": "missing", "count": 1, "first": at(10), "last": at(10)},
    ]


def test_rows_without_a_slot_and_duplicate_slots_are_found(time: list[datetime]) -> None:
    schedule = make_minutely()
    run(time, 1, 2, 30, 31)
    for minute, kind in ((2.5, Kind.SCHEDULED), (10, Kind.SCHEDULED), (30.5, Kind.MANUAL)):
        make_delivery(schedule.command, source_uuid=schedule.uuid, due_at=NOON + minute * MINUTE, kind=kind)

    differences, _ = verify()

    assert differences == [
        {"difference": "unexpected", "count": 1, "first": at(2.5), "last": at(2.5)},
        {"difference": "duplicate", "count": 1, "first": at(10), "last": at(10)},
    ]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"slot_count": 26}, {"difference": "missing", "count": 1}),
        ({"slot_count": 28}, {"difference": "unexpected", "count": 1}),
        ({"last_due_at": NOON + 29.5 * MINUTE}, {"difference": "unexpected", "count": 27}),
    ],
)
def test_a_row_of_skipped_slots_must_have_the_right_count_and_ends(
    time: list[datetime], change: dict[str, Any], expected: dict[str, Any]
) -> None:
    schedule = make_minutely()
    run(time, 1, 2, 30)
    assert schedule.slots().filter(slot_count=27).update(**change) == 1

    differences, _ = verify()

    assert {key: differences[0][key] for key in expected} == expected


def test_a_year_of_slots_every_second_is_compared_by_arithmetic(time: list[datetime], settings: Any) -> None:
    settings.LEDGER_KEEP_FINISHED = timedelta(days=1000)
    schedule = make_minutely(cron="* * * * * *", cron_seconds=True, next_run_at=NOON + MINUTE / 60)
    run(time, 365 * 24 * 60)

    assert verify()[1] == {"schedules": 1, "slots": 365 * 86400, "differences": 0}

    schedule.slots().first().delete()  # type: ignore[union-attr]
    (difference,) = verify()[0]
    assert difference["count"] == 365 * 86400 - 1


def test_only_the_given_period_is_compared(time: list[datetime]) -> None:
    schedule = make_minutely()
    run(time, *range(1, 11), 30)
    schedule.slots().filter(due_at__in=[NOON + 3 * MINUTE, NOON + 7 * MINUTE]).delete()

    assert verify("--from", at(3.5), "--to", at(7))[0] == []
    assert len(verify("--from", at(3), "--to", at(7))[0]) == 1
    # The row of skipped slots from 12:11 to 12:29 reaches into the period.
    assert verify("--from", at(20))[0] == []


def test_one_schedule_or_one_organization_can_be_chosen(time: list[datetime]) -> None:
    good, bad = make_minutely(), make_minutely()
    run(time, 1, 2)
    bad.slots().delete()

    assert verify("--schedule", str(good.uuid))[1]["differences"] == 0
    assert verify("--schedule", str(bad.uuid))[1]["differences"] == 1
    assert verify("--organization", good.organization.name)[1]["schedules"] == 1
    for arguments in (["--schedule", str(uuid4())], ["--schedule", "x"], ["--organization", "x"], ["--from", "now"]):
        with pytest.raises(CommandError):
            call_command("verify_ledger", *arguments, stdout=StringIO())


def test_a_difference_is_described_and_makes_the_command_fail(time: list[datetime]) -> None:
    schedule = make_minutely()
    run(time, 1, 2, 3)
    schedule.slots().filter(due_at__lte=NOON + 2 * MINUTE).delete()
    output = StringIO()

    with pytest.raises(CommandError) as caught:
        call_command("verify_ledger", stdout=output)

    assert caught.value.returncode == 1
    assert output.getvalue().splitlines() == [
        f"{schedule.uuid}  missing 2: {at(1)} to {at(2)}",
        "1 schedules, 3 slots, 1 differences",
    ]


@pytest.mark.parametrize(
    "values",
    [
        {"repeats": 3},
        {"ends_at": NOON + 5 * MINUTE},
        {"execution_frequency": 0, "next_run_at": NOON},
        {"cron": "*/2 * * * *", "next_run_at": NOON + 2 * MINUTE},
        {"cron": "30 * * * * *", "cron_seconds": True, "next_run_at": NOON + 0.5 * MINUTE},
        {"misfire_policy": "skip"},
        {"misfire_policy": "fire_all"},
        {"misfire_policy": "fire_all", "repeats": 3},
        {"overlap": "skip"},
        {"overlap": "skip", "misfire_policy": "fire_all"},
        {"starts_at": NOON + 3 * MINUTE, "anchor_at": NOON + 2 * MINUTE, "next_run_at": NOON + 3 * MINUTE},
        {"starts_at": NOON + 3 * MINUTE, "cron": "* * * * *", "next_run_at": NOON + 3 * MINUTE},
        {"cron": "61 * * * *"},
    ],
)
def test_schedules_of_all_kinds_are_accounted_for(time: list[datetime], values: dict[str, Any]) -> None:
    make_minutely(**values)
    run(time, 1, 2, 3, 4, 9, 200, 201, 201.05)

    assert verify()[0] == []


def test_pauses_changes_and_zone_moves_are_accounted_for(time: list[datetime]) -> None:
    user = make_user()
    schedule = make_minutely(
        cron="*/2 * * * *",
        next_run_at=NOON + 2 * MINUTE,
        owner=user,
        timezone_type="user_timezone",
        organization=user.organization,
    )
    run(time, 2, 4)
    services.pause(schedule=schedule)
    run(time, 9)
    user.timezone = "Asia/Kathmandu"
    user.save(update_fields=["timezone"])
    zone_moves.follow()
    run(time, 13)
    services.resume(schedule=schedule)
    run(time, 14, 16, 20)
    services.update_scheduled_execution(schedule=schedule, changes={"cron": "*/3 * * * *"})
    run(time, 21, 24)
    services.update_scheduled_execution(schedule=schedule, changes={"ends_at": NOON + 27 * MINUTE})
    run(time, 27, 40)

    assert verify()[0] == []
    services.update_scheduled_execution(schedule=schedule, changes={"ends_at": None, "is_active": True})
    run(time, 42, 45)
    assert verify()[0] == []


def test_slots_not_dispatched_before_a_change_or_a_deletion_are_recorded(time: list[datetime]) -> None:
    schedule = make_minutely()
    time[0] = NOON + 5 * MINUTE

    services.update_scheduled_execution(schedule=schedule, changes={"execution_frequency": 120})
    time[0] = NOON + 12 * MINUTE
    services.delete_scheduled_execution(schedule=schedule)

    rows = Delivery.objects.of_source(schedule.uuid).order_by("due_at")
    assert [(row.state, row.reason, row.slot_count) for row in rows] == [
        (State.SKIPPED, Reason.SCHEDULE_CHANGED, 5),
        (State.SKIPPED, Reason.SCHEDULE_DELETED, 3),
    ]


def test_slots_removed_by_retention_are_not_missing(time: list[datetime], settings: Any) -> None:
    settings.LEDGER_KEEP_PER_SCHEDULE = 5
    schedule = make_minutely()
    run(time, *range(1, 21))
    schedule.slots().filter(due_at__lt=NOON + 15 * MINUTE).delete()
    assert verify()[0] == []

    settings.LEDGER_KEEP_PER_SCHEDULE = 1000
    assert len(verify()[0]) == 1
    settings.LEDGER_KEEP_FINISHED = 5 * MINUTE
    assert verify()[0] == []


def test_an_invalid_schedule_is_reported(time: list[datetime]) -> None:
    schedule = make_minutely(cron="61 * * * *")
    time[0] = NOON + 5 * MINUTE
    ScheduledExecution.objects.filter(pk=schedule.pk).update(next_run_at=NOON + 4 * MINUTE)

    (difference,) = verify()[0]

    assert difference["difference"] == "invalid"
