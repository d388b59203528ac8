"""What a schedule can do beyond the documented fields: windows, misfires, overlaps, limits, seconds, clock changes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from commands_platform.lib import clock
from deliveries.models import Delivery, Reason, State
from scheduling import dispatch
from scheduling.models import DeactivationReason, ScheduledExecution
from tests.api import ApiClient, make_caller

pytestmark = pytest.mark.django_db

LIST = "/v1/platform/scheduling/"
NOON = datetime(2026, 2, 25, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
URL = "http://127.0.0.1:8099/callback"


@pytest.fixture
def alice(db: None) -> ApiClient:
    return ApiClient(make_caller(callback_url=URL))


@pytest.fixture
def time() -> Iterator[list[datetime]]:
    """The clock of the server: its one element."""
    now = [NOON]
    with clock.replaced_by(lambda: now[0]):
        yield now


def create(client: ApiClient, **body: Any) -> ScheduledExecution:
    response = client.post(LIST, {"name": "report", **body})
    assert response.status_code == 200, response.content
    return ScheduledExecution.objects.get(uuid=response.json()["uuid"])


def change(client: ApiClient, schedule: ScheduledExecution, **body: Any) -> Any:
    response = client.put(f"{LIST}{schedule.uuid}/", body)
    schedule.refresh_from_db()
    return response


def expanded(client: ApiClient, schedule: ScheduledExecution, *names: str) -> dict[str, Any]:
    answer = client.get(f"{LIST}{schedule.uuid}/?expand={','.join(names)}").json()
    return {name: answer[name] for name in names}


def run(time: list[datetime], *minutes: float) -> None:
    """Lets the dispatcher look at these minutes after noon."""
    for minute in minutes:
        time[0] = NOON + minute * MINUTE
        dispatch.dispatch_due()


def at(minute: float) -> str:
    return (NOON + minute * MINUTE).isoformat().replace("+00:00", "Z")


def rows_of(schedule: ScheduledExecution) -> list[Delivery]:
    return list(schedule.slots())


def fired(schedule: ScheduledExecution) -> list[float]:
    """The minutes after noon of the slots that are sent."""
    return [(row.due_at - NOON) / MINUTE for row in schedule.slots() if row.state == State.PENDING]


def skipped(schedule: ScheduledExecution) -> list[tuple[float, float, int, str]]:
    """First and last minute after noon, count and reason of what is skipped."""
    return [
        ((row.due_at - NOON) / MINUTE, ((row.last_due_at or row.due_at) - NOON) / MINUTE, row.slot_count, row.reason)
        for row in schedule.slots()
        if row.state == State.SKIPPED
    ]


# Windows


@pytest.mark.parametrize(
    ("timing", "minutes"),
    [
        ({}, [3]),
        ({"execution_frequency": 120}, [3, 5, 7]),
        ({"cron": "*/3 * * * *"}, [3, 6]),
        ({"cron": "*/2 * * * *"}, [4, 6]),
        ({"cron": "30 * * * * *", "cron_seconds": True}, [3.5, 4.5, 5.5, 6.5]),
    ],
)
def test_slots_lie_in_the_window_with_both_its_ends_and_the_last_completes_it(
    alice: ApiClient, time: list[datetime], timing: dict[str, Any], minutes: list[float]
) -> None:
    schedule = create(alice, starts_at=at(3), ends_at=at(7), **timing)
    assert expanded(alice, schedule, "starts_at", "ends_at") == {"starts_at": at(3), "ends_at": at(7)}

    run(time, *(step / 2 for step in range(20)))

    assert fired(schedule) == minutes
    assert skipped(schedule) == []
    schedule.refresh_from_db()
    assert (schedule.is_active, schedule.deactivation_reason) == (False, DeactivationReason.COMPLETED)


@pytest.mark.parametrize(
    ("timing", "minute"),
    [({}, 0), ({"execution_frequency": 120}, 1), ({"cron": "*/3 * * * *"}, 3)],
)
def test_a_window_that_has_begun_keeps_the_phase_of_its_start(
    alice: ApiClient, time: list[datetime], timing: dict[str, Any], minute: int
) -> None:
    schedule = create(alice, starts_at=at(-7), **timing)

    assert schedule.next_run_at == NOON + minute * MINUTE


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"starts_at": at(2), "ends_at": at(1)}, "ends_at"),
        ({"ends_at": at(-1)}, "ends_at"),
        ({"ends_at": at(0.5), "execution_frequency": 60}, "ends_at"),
        ({"cron": "0 0 1 1 *", "ends_at": at(60)}, "ends_at"),
        ({"cron": "* * * * *", "starts_at": "9999-12-31T23:59:59Z"}, "ends_at"),
        ({"starts_at": "0001-01-01T00:00:00Z", "execution_frequency": 60}, "starts_at"),
        ({"starts_at": "soon"}, "starts_at"),
        ({"starts_at": "2026-02-25T12:00:00"}, "starts_at"),
        ({"starts_at": 1772020800}, "starts_at"),
        ({"ends_at": "10000-01-01T00:00:00Z"}, "ends_at"),
        ({"misfire_policy": "fire"}, "misfire_policy"),
        ({"misfire_grace": -1}, "misfire_grace"),
        ({"misfire_grace": 2**31}, "misfire_grace"),
        ({"misfire_grace": 1.5}, "misfire_grace"),
        ({"skip_overlapping": "yes"}, "skip_overlapping"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": 31}, "timeout"),
        ({"timeout": "5"}, "timeout"),
        ({"max_attempts": 0}, "max_attempts"),
        ({"max_attempts": 21}, "max_attempts"),
        ({"max_attempts": True}, "max_attempts"),
        ({"headers": []}, "headers"),
        ({"headers": {"Host": "secret-value"}}, "headers"),
        ({"headers": {"webhook-id": "secret-value"}}, "headers"),
        ({"headers": {"X A": "secret-value"}}, "headers"),
        ({"headers": {"X-A": "secret-value\r\nX-B: 1"}}, "headers"),
        ({"headers": {"X-A": 5}}, "headers"),
        ({"headers": {"X-A": "secret-value", "x-a": "2"}}, "headers"),
        ({"headers": {f"X-{number}": "1" for number in range(33)}}, "headers"),
        ({"headers": {"X-A": "secret-value" * 700}}, "headers"),
        ({"cron": "0 * * * * *"}, "cron"),
        ({"cron": "* * * * *", "cron_seconds": True}, "cron"),
        ({"cron_seconds": 1}, "cron_seconds"),
        ({"dst_gap": "first"}, "dst_gap"),
        ({"dst_overlap": "skip"}, "dst_overlap"),
        ({"description": "x" * 2001}, "description"),
        ({"description": 5}, "description"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_on_creation_and_on_change(
    alice: ApiClient, time: list[datetime], body: dict[str, Any], field: str
) -> None:
    created = alice.post(LIST, {"name": "report", **body})
    assert not ScheduledExecution.objects.exists()
    schedule = create(alice, execution_frequency=60)
    before = ScheduledExecution.objects.values().get()
    # What makes it a period on creation makes it what it is not on a change.
    changed = change(alice, schedule, **({"execution_frequency": 0} | body))

    for response in (created, changed):
        assert response.status_code == 400
        assert response.json()["code"] == "params_validation_error"
        assert list(response.json()["errors"]) == [field]
        assert b"secret-value" not in response.content
    assert ScheduledExecution.objects.values().get() == before


def test_the_end_of_the_calendar_means_for_ever(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, execution_frequency=60, ends_at="9999-12-31T23:59:59Z", misfire_grace=2**31 - 1)

    run(time, 1, 2)

    schedule.refresh_from_db()
    assert (fired(schedule), schedule.is_active) == ([1, 2], True)


def test_a_start_far_ahead_is_waited_for(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, execution_frequency=60, starts_at="9999-12-31T23:59:59Z")

    run(time, 1)

    assert expanded(alice, schedule, "next_run_at") == {"next_run_at": "9999-12-31T23:59:59Z"}
    assert fired(schedule) == []


def test_a_new_start_moves_the_phase_and_cancels_what_was_not_sent(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, execution_frequency=60)
    run(time, 1)

    change(alice, schedule, starts_at=at(10.5))

    assert schedule.next_run_at == NOON + 10.5 * MINUTE
    (row,) = rows_of(schedule)
    assert (row.state, row.reason) == (State.CANCELLED, Reason.SCHEDULE_CHANGED)
    change(alice, schedule, starts_at=None)
    assert schedule.next_run_at == NOON + 2 * MINUTE


def test_a_new_end_keeps_the_phase_and_what_is_being_sent(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, execution_frequency=60)
    run(time, 1)
    time[0] = NOON + 1.5 * MINUTE

    change(alice, schedule, ends_at=at(2))
    run(time, 2, 3)

    assert fired(schedule) == [1, 2]
    schedule.refresh_from_db()
    assert schedule.deactivation_reason == DeactivationReason.COMPLETED


def test_an_end_before_the_next_slot_is_refused_and_taken_for_one_that_is_paused(
    alice: ApiClient, time: list[datetime]
) -> None:
    schedule = create(alice, execution_frequency=600)

    refused = change(alice, schedule, ends_at=at(5))
    accepted = change(alice, schedule, ends_at=at(5), is_active=False)
    resumed = change(alice, schedule, is_active=True)

    assert [response.status_code for response in (refused, accepted, resumed)] == [400, 200, 400]
    assert list(refused.json()["errors"]) == list(resumed.json()["errors"]) == ["ends_at"]


def test_a_completed_schedule_goes_on_when_its_end_is_put_off(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, execution_frequency=60, ends_at=at(1))
    run(time, 1, 5.5)

    change(alice, schedule, ends_at=None, is_active=True)
    run(time, 6)

    assert fired(schedule) == [1, 6]


def test_a_slot_that_is_found_after_the_end_is_not_sent(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, execution_frequency=60, ends_at=at(3))

    run(time, 10)

    assert skipped(schedule) == [(1, 2, 2, Reason.MISSED), (3, 3, 1, Reason.OUTSIDE_WINDOW)]
    schedule.refresh_from_db()
    assert schedule.is_active is False


def test_a_paused_one_off_that_is_resumed_after_its_end_is_refused(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, starts_at=at(1), ends_at=at(2), is_active=False)
    time[0] = NOON + 5 * MINUTE

    assert change(alice, schedule, is_active=True).status_code == 400


@pytest.mark.parametrize("policy", ["fire_latest", "skip", "fire_all"])
def test_a_paused_one_off_runs_when_it_is_resumed_whatever_the_policy(
    alice: ApiClient, time: list[datetime], policy: str
) -> None:
    schedule = create(alice, starts_at=at(1), is_active=False, misfire_policy=policy)
    time[0] = NOON + 5 * MINUTE
    change(alice, schedule, is_active=True)

    run(time, 5)

    assert fired(schedule) == [5]


# Misfires


@pytest.mark.parametrize(
    ("policy", "expected_fired", "expected_skipped"),
    [
        ("fire_latest", [30], [(1, 29, 29, Reason.MISSED)]),
        ("skip", [], [(1, 30, 30, Reason.MISSED)]),
        ("fire_all", list(range(1, 31)), []),
    ],
)
@pytest.mark.parametrize("timing", [{"execution_frequency": 60}, {"cron": "* * * * *"}])
def test_after_an_outage_the_policy_decides(
    alice: ApiClient,
    time: list[datetime],
    *,
    timing: dict[str, Any],
    policy: str,
    expected_fired: list[int],
    expected_skipped: list[Any],
) -> None:
    schedule = create(alice, misfire_policy=policy, **timing)
    assert expanded(alice, schedule, "misfire_policy", "misfire_grace") == {
        "misfire_policy": policy, "misfire_grace": 5,
    }  # fmt: skip

    run(time, 30.5)

    assert (fired(schedule), skipped(schedule)) == (expected_fired, expected_skipped)
    run(time, 31)
    assert fired(schedule) == [*expected_fired, 31]


@pytest.mark.parametrize(
    ("minutes", "first_fired", "expected_skipped"),
    [
        (99, 1, []),
        (100, 1, []),
        (101, 2, [(1, 1, 1, Reason.MISSED)]),
        (250, 151, [(1, 150, 150, Reason.MISSED)]),
        (60 * 24 * 365, 60 * 24 * 365 - 99, [(1, 60 * 24 * 365 - 100, 60 * 24 * 365 - 100, Reason.MISSED)]),
    ],
)
@pytest.mark.parametrize("timing", [{"execution_frequency": 60}, {"cron": "* * * * *"}])
def test_of_all_at_most_a_hundred_fire_and_the_older_are_one_row(
    alice: ApiClient,
    time: list[datetime],
    *,
    timing: dict[str, Any],
    minutes: int,
    first_fired: int,
    expected_skipped: list[Any],
) -> None:
    schedule = create(alice, misfire_policy="fire_all", **timing)

    run(time, minutes + 0.5)

    assert fired(schedule) == list(range(first_fired, minutes + 1))
    assert skipped(schedule) == expected_skipped


@pytest.mark.parametrize(
    ("policy", "expected_fired", "left"),
    [("fire_latest", [30], 2), ("skip", [], 3), ("fire_all", [1, 2, 3], 0)],
)
def test_what_fires_after_an_outage_takes_repeats(
    alice: ApiClient, time: list[datetime], policy: str, expected_fired: list[int], left: int
) -> None:
    schedule = create(alice, execution_frequency=60, misfire_policy=policy, repeats=3)

    run(time, 30.5)

    schedule.refresh_from_db()
    assert fired(schedule) == expected_fired
    assert (schedule.repeats, schedule.is_active) == (left, left > 0)


@pytest.mark.parametrize(
    ("grace", "policy", "expected_fired"),
    [(60, "skip", [1, 2]), (61, "skip", [1, 2]), (59, "skip", [2]), (0, "skip", []), (0, "fire_latest", [2])],
)
def test_within_the_grace_a_slot_is_late_and_not_missed(
    alice: ApiClient, time: list[datetime], grace: int, policy: str, expected_fired: list[int]
) -> None:
    schedule = create(alice, execution_frequency=60, misfire_grace=grace, misfire_policy=policy)

    run(time, 2 if grace else 2.01)

    assert fired(schedule) == expected_fired


def test_a_one_off_that_was_missed_fires_unless_its_policy_is_to_skip(alice: ApiClient, time: list[datetime]) -> None:
    default, strict = create(alice), create(alice, misfire_policy="skip")

    run(time, 10)

    assert (fired(default), fired(strict)) == ([0], [])
    assert skipped(strict) == [(0, 0, 1, Reason.MISSED)]


# Overlaps


def test_a_slot_is_skipped_while_the_one_before_it_is_not_finished(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, execution_frequency=60, skip_overlapping=True, repeats=3)
    run(time, 1, 2, 3)
    schedule.slots().filter(state=State.PENDING).update(
        state=State.DELIVERED, next_attempt_at=None, finished_at=time[0]
    )

    run(time, 4)

    assert skipped(schedule) == [(2, 2, 1, Reason.OVERLAP), (3, 3, 1, Reason.OVERLAP)]
    assert fired(schedule) == [4]
    schedule.refresh_from_db()
    assert schedule.repeats == 1


@pytest.mark.parametrize(
    ("body", "minute", "expected_fired"),
    [
        ({"misfire_policy": "fire_all"}, 5.5, [1]),
        ({"misfire_grace": 600}, 5.5, [1]),
        ({}, 5.5, [5]),
    ],
)
def test_slots_that_are_due_together_overlap_too(
    alice: ApiClient, time: list[datetime], body: dict[str, Any], minute: float, expected_fired: list[int]
) -> None:
    schedule = create(alice, execution_frequency=60, skip_overlapping=True, **body)

    run(time, minute)

    assert fired(schedule) == expected_fired
    assert sum(row.slot_count for row in rows_of(schedule)) == 5


def test_overlapping_is_allowed_unless_told_otherwise(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, execution_frequency=60)

    run(time, 1, 2)

    assert fired(schedule) == [1, 2]


# What is sent


@pytest.mark.parametrize(("timeout", "max_attempts"), [(1, 1), (30, 20)])
def test_limits_and_headers_travel_with_each_slot(
    alice: ApiClient, time: list[datetime], timeout: int, max_attempts: int
) -> None:
    schedule = create(alice, timeout=timeout, max_attempts=max_attempts, headers={"X-Auth": " Bearer é "})

    run(time, 0)

    (row,) = rows_of(schedule)
    assert (row.timeout, row.max_attempts) == (timeout, max_attempts)
    assert orjson.loads(row.headers) == {"X-Auth": "Bearer é"}


def test_without_them_the_servers_own_hold(alice: ApiClient, time: list[datetime], settings: Any) -> None:
    schedule = create(alice, timeout=None, max_attempts=None, headers={})

    run(time, 0)

    (row,) = rows_of(schedule)
    assert (row.timeout, row.max_attempts) == (None, len(settings.DELIVERY_RETRY_DELAYS) + 1)
    assert row.headers == ""


def test_the_value_of_a_header_is_never_shown(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, headers={"X-Token": "secret-value", "X-A": "secret-value"})
    run(time, 0)
    (row,) = rows_of(schedule)

    answers = [
        alice.get(f"{LIST}{schedule.uuid}/?expand=headers"),
        alice.get(f"{LIST}?expand=headers"),
        alice.get(f"{LIST}{schedule.uuid}/slots/"),
        alice.get(f"{LIST}{schedule.uuid}/slots/{row.pk}/"),
        change(alice, schedule, headers={"X-Token": "secret-value", "X-B": "secret-value"}),
    ]

    assert answers[0].json()["headers"] == ["X-A", "X-Token"]
    assert {answer.status_code for answer in answers} == {200}
    assert not any(b"secret-value" in answer.content for answer in answers)


def test_new_headers_cancel_what_was_not_sent_and_new_limits_do_not(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, execution_frequency=60, headers={"X-A": "1"})
    run(time, 1)

    change(alice, schedule, timeout=3, max_attempts=2, headers={"X-A": "1"}, description="new")
    assert fired(schedule) == [1]
    change(alice, schedule, headers={"X-A": "2"})

    assert [(row.state, row.reason) for row in rows_of(schedule)] == [(State.CANCELLED, Reason.SCHEDULE_CHANGED)]
    assert expanded(alice, schedule, "timeout", "max_attempts") == {"timeout": 3, "max_attempts": 2}


# Seconds and clock changes


def test_an_expression_of_six_fields_begins_with_the_seconds(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, cron="*/20 * * * * *", cron_seconds=True)

    run(time, *(step / 60 for step in range(0, 61, 5)))

    assert [minute * 60 for minute in fired(schedule)] == [20, 40, 60]
    assert expanded(alice, schedule, "cron_seconds") == {"cron_seconds": True}


@pytest.mark.parametrize(
    ("body", "now", "expected"),
    [
        # In Berlin 2:30 does not exist on 29 March 2026, and comes twice on 25 October.
        ({}, datetime(2026, 3, 28, 12, tzinfo=UTC), [datetime(2026, 3, 29, 1, tzinfo=UTC)]),
        ({"dst_gap": "skip"}, datetime(2026, 3, 28, 12, tzinfo=UTC), [datetime(2026, 3, 30, 0, 30, tzinfo=UTC)]),
        (
            {},
            datetime(2026, 10, 24, 12, tzinfo=UTC),
            [datetime(2026, 10, 25, 0, 30, tzinfo=UTC), datetime(2026, 10, 26, 1, 30, tzinfo=UTC)],
        ),
        (
            {"dst_overlap": "both"},
            datetime(2026, 10, 24, 12, tzinfo=UTC),
            [datetime(2026, 10, 25, 0, 30, tzinfo=UTC), datetime(2026, 10, 25, 1, 30, tzinfo=UTC)],
        ),
    ],
)
def test_clock_changes_follow_the_schedules_own_rules(
    alice: ApiClient, time: list[datetime], body: dict[str, Any], now: datetime, expected: list[datetime]
) -> None:
    time[0] = now
    schedule = create(alice, cron="30 2 * * *", timezone_type="custom_timezone", timezone="Europe/Berlin", **body)

    found = []
    for _ in expected:
        schedule.refresh_from_db()
        assert schedule.next_run_at is not None
        found.append(schedule.next_run_at)
        time[0] = schedule.next_run_at
        dispatch.dispatch_due()

    assert found == expected


def test_another_rule_for_clock_changes_is_another_timing(alice: ApiClient, time: list[datetime]) -> None:
    time[0] = datetime(2026, 3, 28, 12, tzinfo=UTC)
    schedule = create(alice, cron="30 2 * * *", timezone_type="custom_timezone", timezone="Europe/Berlin")

    change(alice, schedule, dst_gap="skip", dst_overlap="both")

    assert schedule.next_run_at == datetime(2026, 3, 30, 0, 30, tzinfo=UTC)
    assert expanded(alice, schedule, "dst_gap", "dst_overlap") == {"dst_gap": "skip", "dst_overlap": "both"}


def test_every_extension_has_its_default_and_its_name(alice: ApiClient, time: list[datetime]) -> None:
    defaults = {
        "description": "",
        "cron_seconds": False,
        "dst_gap": "run_after",
        "dst_overlap": "first",
        "starts_at": None,
        "ends_at": None,
        "misfire_policy": "fire_latest",
        "misfire_grace": 5,
        "skip_overlapping": False,
        "timeout": None,
        "max_attempts": None,
        "headers": [],
        "deactivation_reason": None,
        "last_delivery": None,
    }

    assert expanded(alice, create(alice), *defaults) == defaults


def test_a_description_is_kept_as_it_was_written(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, description="Two\nlines, and \u200b more")

    assert expanded(alice, schedule, "description") == {"description": "Two\nlines, and \u200b more"}
    change(alice, schedule, description=None)
    assert expanded(alice, schedule, "description") == {"description": ""}


def test_a_paused_schedule_that_moves_goes_on_in_its_new_zone(alice: ApiClient, time: list[datetime]) -> None:
    schedule = create(alice, cron="0 15 * * *", is_active=False)

    alice.caller.organization.timezone = "Asia/Kathmandu"
    alice.caller.organization.save(update_fields=["timezone"])
    schedule.refresh_from_db()
    assert schedule.is_active is False
    change(alice, schedule, is_active=True)

    assert schedule.next_run_at == datetime(2026, 2, 26, 9, 15, tzinfo=UTC)
