"""Listing, reading and redelivering the slots of a schedule over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from commands_platform.lib.instants import format_instant
from deliveries.attempts import Timings
from deliveries.models import Delivery, Kind, Reason, State
from organizations.models import Command
from scheduling.models import ScheduledExecution
from tests.api import ApiClient
from tests.factories import make_attempt, make_delivery, make_schedule
from tests.scheduling.schedules import redeliver, slot, slots

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 2, 25, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SECRET = "whsec_" + "A" * 32
TOKEN = "cmdt_mRFkU_XU7Wb_9Ajydpba3KjCM1Oq7Hb0L2eg6KqdVW48A7ttH0mqFyCJPjLXuniuPOe_mlU6nvQjMdIm"


@pytest.fixture
def schedule(alice: ApiClient) -> ScheduledExecution:
    return make_schedule(alice.caller.command)


def make_row(
    schedule: ScheduledExecution, minute: int, state: State = State.DELIVERED, *, minutes: int = 1, **values: Any
) -> Delivery:
    due = NOON + minute * MINUTE
    reason = {State.DELIVERED: "", State.PENDING: "", State.FAILED: Reason.REJECTED, State.CANCELLED: Reason.PAUSED}
    run = {"last_due_at": due + (minutes - 1) * MINUTE, "slot_count": minutes} if minutes > 1 else {}
    return make_delivery(
        schedule.command,
        **{
            "source_uuid": schedule.uuid,
            "due_at": due,
            "state": state,
            "reason": reason.get(state, Reason.MISSED),
            "next_attempt_at": due if state == State.PENDING else None,
            "finished_at": None if state == State.PENDING else due + timedelta(seconds=1),
            **({"url": "", "body": ""} if state == State.SKIPPED else {}),
            **run,
            **values,
        },
    )


def due_times(answer: dict[str, Any]) -> list[int]:
    """Returns the due times as minutes after noon."""
    return [(datetime.fromisoformat(row["due_at"]) - NOON) // MINUTE for row in answer["results"]]


def test_the_slots_of_a_schedule_are_listed_oldest_first(alice: ApiClient, schedule: ScheduledExecution) -> None:
    delivered = make_row(schedule, 9, attempt_count=2, last_status=204)
    skipped = make_row(schedule, 1, State.SKIPPED, minutes=8)
    make_row(make_schedule(alice.caller.command), 5)

    response = alice.get(slots(schedule))

    assert response.status_code == 200
    assert response.json() == {
        "next": None,
        "previous": None,
        "results": [
            {
                "uuid": str(skipped.pk),
                "kind": "scheduled",
                "due_at": "2026-02-25T12:01:00Z",
                "last_due_at": "2026-02-25T12:08:00Z",
                "slot_count": 8,
                "state": "skipped",
                "reason": "missed",
                "attempts": 0,
                "status": None,
                "next_attempt_at": None,
                "finished_at": "2026-02-25T12:01:01Z",
                "url": None,
            },
            {
                "uuid": str(delivered.pk),
                "kind": "scheduled",
                "due_at": "2026-02-25T12:09:00Z",
                "last_due_at": None,
                "slot_count": 1,
                "state": "delivered",
                "reason": None,
                "attempts": 2,
                "status": 204,
                "next_attempt_at": None,
                "finished_at": "2026-02-25T12:09:01Z",
                "url": "http://127.0.0.1:9/callback",
            },
        ],
    }


def test_the_pages_contain_every_slot_once(alice: ApiClient, schedule: ScheduledExecution) -> None:
    for minute in range(5):
        make_row(schedule, minute)

    pages, path = [], f"{slots(schedule)}?limit=2&state=delivered"
    while path:
        answer = alice.get(path).json()
        pages.append(due_times(answer))
        path = answer["next"]

    assert pages == [[0, 1], [2, 3], [4]]
    assert due_times(alice.get(answer["previous"]).json()) == [2, 3]


@pytest.mark.parametrize(
    ("query", "minutes"),
    [
        ("from=2026-02-25T12:02:00Z", [2, 3]),
        ("to=2026-02-25T12:02:00Z", [0, 1]),
        ("from=2026-02-25T12:01:00Z&to=2026-02-25T12:03:00Z", [1, 2]),
        ("from=2026-02-25T13:01:00%2B01:00&to=2026-02-25T12:03:00Z", [1, 2]),
        ("from=2026-02-25T12:03:00Z&to=2026-02-25T12:01:00Z", []),
        ("state=failed", [2]),
        ("state=pending", []),
        ("state=failed,pending", [2]),
        ("state=failed&state=delivered", [0, 1, 2, 3]),
        ("limit=1", [0]),
        ("order=asc&limit=2", [0, 1]),
        ("order=desc", [3, 2, 1, 0]),
        ("order=desc&to=2026-02-25T12:02:00Z", [1, 0]),
    ],
)
def test_the_list_can_be_filtered(
    alice: ApiClient, schedule: ScheduledExecution, query: str, minutes: list[int]
) -> None:
    for minute in range(4):
        make_row(schedule, minute, State.FAILED if minute == 2 else State.DELIVERED)

    assert due_times(alice.get(f"{slots(schedule)}?{query}").json()) == minutes


def test_a_row_of_skipped_slots_that_reaches_into_the_range_is_listed(
    alice: ApiClient, schedule: ScheduledExecution
) -> None:
    make_row(schedule, 0)
    make_row(schedule, 1, State.SKIPPED, minutes=8)
    make_row(schedule, 2, kind=Kind.MANUAL)
    make_row(schedule, 9)

    assert due_times(alice.get(f"{slots(schedule)}?from=2026-02-25T12:05:00Z").json()) == [1, 9]
    assert due_times(alice.get(f"{slots(schedule)}?from=2026-02-25T12:08:30Z").json()) == [9]
    assert due_times(alice.get(f"{slots(schedule)}?from=2026-02-25T12:05:00Z&state=delivered").json()) == [9]
    assert due_times(alice.get(f"{slots(schedule)}?from=2026-02-25T12:05:00Z&order=desc").json()) == [9, 1]


def test_a_page_costs_the_same_for_few_and_for_many(
    alice: ApiClient, schedule: ScheduledExecution, django_assert_max_num_queries: Any
) -> None:
    for minute in range(20):
        make_row(schedule, minute)

    with django_assert_max_num_queries(6):
        alice.get(f"{slots(schedule)}?from=2026-02-25T12:00:00Z")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("from=yesterday", "from"),
        ("from=2026-02-25T12:00:00", "from"),
        ("to=2026-02-30T12:00:00Z", "to"),
        ("to=%00", None),
        ("state=lost", "state"),
        ("cursor=junk", "cursor"),
        ("order=random", "order"),
        ("limit=many", "limit"),
    ],
)
def test_an_invalid_filter_is_named(
    alice: ApiClient, schedule: ScheduledExecution, query: str, field: str | None
) -> None:
    response = alice.get(f"{slots(schedule)}?{query}")

    assert response.status_code == 400
    if field:
        assert response.json()["code"] == "params_validation_error"
        assert list(response.json()["errors"]) == [field]


def test_a_single_slot_shows_its_attempts_and_its_body(alice: ApiClient, schedule: ScheduledExecution) -> None:
    attempt = make_attempt(
        started_at=datetime(2026, 2, 25, 12, 0, 0, 4000, UTC),
        timings=Timings(dns=100, connect=300, tls=0, first_byte=1800, total=2_412),
        response="oops",
    )
    delivery = make_row(schedule, 0, State.FAILED, attempts=[attempt], body='{"b":1.0,"a":2}')

    response = alice.get(slot(delivery))

    assert response.status_code == 200
    answer = response.json()
    assert answer["uuid"] == str(delivery.pk)
    assert answer["attempt_records"] == [
        {
            "number": 1,
            "started_at": "2026-02-25T12:00:00.004000Z",
            "status": 503,
            "error": None,
            "message": "The receiver answered with status 503.",
            "dns_ms": 0.1,
            "connect_ms": 0.3,
            "tls_ms": 0,
            "first_byte_ms": 1.8,
            "total_ms": 2.412,
            "address": "127.0.0.1",
            "response": "oops",
        }
    ]
    assert list(answer["body"]) == [
        *("intent", "query", "event_timestamp", "organization_uuid", "user_uuid", "user_full_name", "command_uuid"),
        *("exchange_token", "payload", "scheduled_execution"),
    ]
    assert answer["body"]["exchange_token"] is None
    assert b'"payload":{"b":1.0,"a":2},' in response.content


def test_a_skipped_slot_has_no_body(alice: ApiClient, schedule: ScheduledExecution) -> None:
    answer = alice.get(slot(make_row(schedule, 0, State.SKIPPED))).json()

    assert (answer["body"], answer["attempt_records"]) == (None, [])


def test_secrets_that_a_receiver_sends_back_are_not_shown(alice: ApiClient, schedule: ScheduledExecution) -> None:
    command = Command.objects.get(pk=schedule.command.pk)
    echoed = f"{TOKEN} {SECRET} {command.signing_secret} {command.signature} v1,{'a' * 43}= Bearer hunter22 end"
    delivery = make_row(
        schedule, 0, State.FAILED, attempts=[make_attempt(response=echoed)], headers='{"X-Auth":"Bearer hunter22"}'
    )

    (record,) = alice.get(slot(delivery)).json()["attempt_records"]

    assert record["response"].split() == ["[removed]"] * 6 + ["end"]


@pytest.mark.parametrize("state", [State.DELIVERED, State.FAILED, State.CANCELLED])
def test_a_finished_slot_can_be_redelivered(alice: ApiClient, schedule: ScheduledExecution, state: State) -> None:
    delivery = make_row(schedule, 0, state, attempt_count=8)

    response = alice.post(f"{slot(delivery)}redeliver/")

    delivery.refresh_from_db()
    assert (response.status_code, response.json()) == (200, {"count": 1, "dry_run": False})
    assert (delivery.state, delivery.reason, delivery.max_attempts) == (State.PENDING, "", 16)


@pytest.mark.parametrize(
    ("state", "values"),
    [(State.PENDING, {}), (State.SKIPPED, {}), (State.FAILED, {"url": ""}), (State.FAILED, {"attempt_count": 200})],
)
def test_a_slot_that_cannot_be_redelivered_is_refused(
    alice: ApiClient, schedule: ScheduledExecution, state: State, values: dict[str, Any]
) -> None:
    delivery = make_row(schedule, 0, state, **values)

    response = alice.post(f"{slot(delivery)}redeliver/")

    assert (response.status_code, response.json()["code"]) == (400, "not_redeliverable")
    delivery.refresh_from_db()
    assert delivery.state == state


def span(first: int, after: int, **values: Any) -> dict[str, Any]:
    return {"from": format_instant(NOON + first * MINUTE), "to": format_instant(NOON + after * MINUTE), **values}


def pending(schedule: ScheduledExecution) -> list[int]:
    return [(row.due_at - NOON) // MINUTE for row in schedule.slots().filter(state=State.PENDING)]


@pytest.mark.parametrize(
    ("body", "minutes"),
    [
        (span(0, 9), [0, 1, 3]),
        (span(1, 3), [1]),
        (span(0, 9, limit=2), [0, 1]),
        (span(0, 9, states=["delivered", "cancelled"]), [2, 4]),
        (span(0, 9, states=["failed", "failed"]), [0, 1, 3]),
        (span(9, 0), []),
    ],
)
def test_the_failed_slots_of_a_range_are_redelivered(
    alice: ApiClient, schedule: ScheduledExecution, body: dict[str, Any], minutes: list[int]
) -> None:
    states = [State.FAILED, State.FAILED, State.DELIVERED, State.FAILED, State.CANCELLED, State.SKIPPED]
    for minute, state in enumerate(states):
        make_row(schedule, minute, state)

    rehearsed = alice.post(redeliver(schedule), body | {"dry_run": True})
    assert pending(schedule) == []
    response = alice.post(redeliver(schedule), body)

    assert rehearsed.json() == {"count": len(minutes), "dry_run": True}
    assert response.json() == {"count": len(minutes), "dry_run": False}
    assert pending(schedule) == minutes


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "from"),
        (span(0, 1) | {"to": None}, "to"),
        (span(0, 1) | {"from": "x"}, "from"),
        (span(0, 1, states=[]), "states"),
        (span(0, 1, states="failed"), "states"),
        (span(0, 1, states=["pending"]), "states"),
        (span(0, 1, states=["failed"] * 4), "states"),
        (span(0, 1, states=[["failed"]]), "states"),
        (span(0, 1, limit=0), "limit"),
        (span(0, 1, limit=1001), "limit"),
        (span(0, 1, limit="5"), "limit"),
        (span(0, 1, dry_run="no"), "dry_run"),
    ],
)
def test_an_invalid_redelivery_is_refused(
    alice: ApiClient, schedule: ScheduledExecution, body: dict[str, Any], field: str
) -> None:
    make_row(schedule, 0, State.FAILED)

    response = alice.post(redeliver(schedule), body)

    assert response.status_code == 400
    assert response.json()["code"] == "params_validation_error"
    assert field in {name.split(".")[0] for name in response.json()["errors"]}
    assert pending(schedule) == []


def calls(schedule: ScheduledExecution, delivery: Delivery) -> list[tuple[str, str]]:
    return [
        ("GET", slots(schedule)),
        ("GET", slot(delivery)),
        ("POST", f"{slot(delivery)}redeliver/"),
        ("POST", redeliver(schedule)),
    ]


def test_a_stranger_sees_and_sends_nothing(alice: ApiClient, mallory: ApiClient, schedule: ScheduledExecution) -> None:
    delivery = make_row(schedule, 0, State.FAILED)

    for method, path in calls(schedule, delivery):
        response = mallory.request(method, path, span(0, 9))

        assert (response.status_code, response.json()["code"]) == (404, "not_found")
    assert pending(schedule) == []


def test_a_slot_of_another_schedule_is_not_found(
    alice: ApiClient, mallory: ApiClient, schedule: ScheduledExecution
) -> None:
    others = make_row(make_schedule(mallory.caller.command), 0, State.FAILED)

    for path in (f"{slots(schedule)}{others.pk}/", f"{slots(schedule)}{uuid4()}/", f"{slots(schedule)}x/"):
        assert alice.get(path).status_code == 404
        assert alice.post(f"{path}redeliver/").status_code == 404


def test_the_slots_of_a_deleted_schedule_are_not_found(alice: ApiClient, schedule: ScheduledExecution) -> None:
    delivery = make_row(schedule, 0, State.FAILED)
    alice.delete(f"/v1/platform/scheduling/{schedule.uuid}/")

    for method, path in calls(schedule, delivery):
        assert alice.request(method, path, span(0, 9)).status_code == 404


def test_slots_need_a_key_with_the_scope_and_a_token_if_a_user_owns_the_schedule(
    alice: ApiClient, schedule: ScheduledExecution
) -> None:
    ScheduledExecution.objects.filter(pk=schedule.pk).update(owner=alice.caller.user)
    delivery = make_row(schedule, 0, State.FAILED)
    scopeless = ApiClient(alice.caller.with_scopes("STORAGE"))

    for method, path in calls(schedule, delivery):
        assert alice.request(method, path, span(0, 9), key=None).status_code == 401
        assert alice.request(method, path, span(0, 9), token=None).json()["code"] == "missing_token"
        assert scopeless.request(method, path, span(0, 9)).json()["code"] == "insufficient_scope"
    assert pending(schedule) == []
