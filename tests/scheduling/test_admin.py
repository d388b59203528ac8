"""Schedules in the admin: operators can run, pause, resume and delete them. Only the API creates and changes them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
import time_machine
from django.test import Client

from commands_platform.lib import clock
from deliveries.models import Delivery, Kind, Reason, State
from scheduling.models import DeactivationReason, ScheduledExecution
from tests.admin import act, confirm, make_operator, page, page_of
from tests.factories import make_command, make_delivery, make_organization, make_schedule

URL = "http://127.0.0.1:9/callback"


@pytest.fixture
def operator(db: None) -> Client:
    return make_operator(is_superuser=True)


def _callable_schedule(**values: Any) -> ScheduledExecution:
    return make_schedule(make_command(callback_url=URL), **values)


def _refreshed(schedule: ScheduledExecution) -> ScheduledExecution:
    return ScheduledExecution.objects.get(pk=schedule.pk)


def test_a_schedule_is_run_once_more_from_its_page(operator: Client) -> None:
    schedule = _callable_schedule(repeats=3)

    confirm(operator, schedule, "run_now")

    assert Delivery.objects.get().kind == Kind.MANUAL
    assert _refreshed(schedule).repeats == 3


def test_a_schedule_is_paused_and_resumed_from_its_page(operator: Client) -> None:
    schedule = _callable_schedule()

    confirm(operator, schedule, "pause")
    assert _refreshed(schedule).deactivation_reason == DeactivationReason.PAUSED

    confirm(operator, schedule, "resume")
    assert _refreshed(schedule).is_active


def test_pausing_cancels_unsent_deliveries(operator: Client) -> None:
    schedule = _callable_schedule()
    delivery = make_delivery(schedule.command, source_uuid=schedule.uuid)

    confirm(operator, schedule, "pause")

    delivery.refresh_from_db()
    assert (delivery.state, delivery.reason) == (State.CANCELLED, Reason.SCHEDULE_PAUSED)


def test_the_page_says_why_a_schedule_cannot_be_run(operator: Client) -> None:
    schedule = make_schedule()

    response = operator.get(confirm(operator, schedule, "run_now")["Location"])

    assert "neither the schedule nor its command has a callback URL" in response.content.decode()
    assert not Delivery.objects.exists()


def test_the_action_runs_the_schedules_that_it_can_and_says_why_it_skips_others(operator: Client) -> None:
    good, bad = _callable_schedule(name="good"), make_schedule(name="bad")
    gone = make_schedule(make_command(callback_url=URL, is_active=False), name="gone")

    html = act(operator, "run_now", good, bad, gone).content.decode()

    assert Delivery.objects.get().source_uuid == good.uuid
    assert "Run started: 1." in html
    assert "bad: It cannot run: neither the schedule nor its command has a callback URL." in html
    assert "gone: It cannot run: the command is inactive." in html


def test_the_page_says_why_a_completed_schedule_cannot_be_resumed(operator: Client) -> None:
    completed = _callable_schedule(
        repeats=0, is_active=False, next_run_at=None, deactivation_reason=DeactivationReason.COMPLETED
    )

    html = act(operator, "resume", completed).content.decode()

    assert "No repeats are left" in html


def test_several_schedules_are_paused_at_once(operator: Client) -> None:
    schedules = [_callable_schedule() for _ in range(3)]

    act(operator, "pause", *schedules[:2])

    assert ScheduledExecution.objects.active().get() == schedules[2]


def test_deleting_a_schedule_cancels_unsent_deliveries_and_keeps_its_ledger(operator: Client) -> None:
    schedule = _callable_schedule()
    delivery = make_delivery(schedule.command, source_uuid=schedule.uuid)

    operator.post(page_of(schedule, "delete"), {"post": "yes"})

    assert not ScheduledExecution.objects.exists()
    delivery.refresh_from_db()
    assert (delivery.state, delivery.reason) == (State.CANCELLED, Reason.SCHEDULE_DELETED)


def test_several_schedules_are_deleted_at_once(operator: Client) -> None:
    schedules = [_callable_schedule() for _ in range(2)]
    for schedule in schedules:
        make_delivery(schedule.command, source_uuid=schedule.uuid)
    data = {
        "action": "delete_selected",
        "index": "0",
        "_selected_action": [str(schedule.pk) for schedule in schedules],
        "post": "yes",
    }

    operator.post(page(ScheduledExecution, "changelist"), data)

    assert not ScheduledExecution.objects.exists()
    assert {row.reason for row in Delivery.objects.all()} == {Reason.SCHEDULE_DELETED}


def test_the_page_of_a_schedule_is_read_only(operator: Client) -> None:
    schedule = _callable_schedule(name="before")

    assert operator.post(page_of(schedule), {"name": "after"}).status_code == 403
    assert _refreshed(schedule).name == "before"


def test_a_page_offers_to_pause_an_active_schedule_and_to_resume_an_inactive_one(operator: Client) -> None:
    running = _callable_schedule()
    paused = _callable_schedule(is_active=False, deactivation_reason=DeactivationReason.PAUSED)

    shown = {row.pk: operator.get(page_of(row)).content.decode() for row in (running, paused)}

    assert page_of(running, "pause") in shown[running.pk]
    assert page_of(running, "resume") not in shown[running.pk]
    assert page_of(paused, "resume") in shown[paused.pk]
    assert page_of(paused, "pause") not in shown[paused.pk]


def test_the_next_slots_are_shown_in_the_zone_of_the_schedule(operator: Client) -> None:
    organization = make_organization(timezone="Europe/Berlin")
    schedule = make_schedule(make_command(organization), cron="0 9 * * MON-FRI", execution_frequency=0)

    with time_machine.travel(datetime(2026, 10, 22, 12, tzinfo=UTC), tick=False):
        slots = operator.get(page_of(schedule)).context["next_slots"]

    assert slots["zone"] == "Europe/Berlin"
    assert [row["local"] for row in slots["rows"]] == [
        "Fri 2026-10-23 09:00:00 CEST",
        "Mon 2026-10-26 09:00:00 CET",
        "Tue 2026-10-27 09:00:00 CET",
        "Wed 2026-10-28 09:00:00 CET",
        "Thu 2026-10-29 09:00:00 CET",
    ]


def test_no_more_slots_are_shown_than_repeats_are_left(operator: Client) -> None:
    schedule = make_schedule(repeats=2)

    assert len(operator.get(page_of(schedule)).context["next_slots"]["rows"]) == 2


def test_no_slots_are_shown_outside_the_window(operator: Client) -> None:
    now = clock.now()
    schedule = make_schedule(cron="0 * * * *", execution_frequency=0, ends_at=now + timedelta(hours=2))

    assert len(operator.get(page_of(schedule)).context["next_slots"]["rows"]) == 2


def test_an_invalid_schedule_still_has_a_page(operator: Client) -> None:
    schedule = make_schedule(cron="nonsense", timezone_type="custom_timezone", timezone="Europe/Atlantis")

    response = operator.get(page_of(schedule))

    assert response.status_code == 200
    assert response.context["next_slots"]["rows"] == []
    assert response.context["next_slots"]["note"]


def test_the_ten_latest_deliveries_are_shown_newest_first(operator: Client) -> None:
    schedule = make_schedule()
    now = clock.now()
    rows = [
        make_delivery(schedule.command, source_uuid=schedule.uuid, due_at=now - timedelta(minutes=minutes))
        for minutes in range(12)
    ]
    make_delivery(schedule.command)

    shown = operator.get(page_of(schedule)).context["deliveries"]

    assert len(shown) == 10
    assert str(rows[0].pk) in shown[0]["link"]
    assert str(rows[9].pk) in shown[9]["link"]


def test_the_list_shows_how_the_last_slot_ended(operator: Client) -> None:
    schedule, now = make_schedule(), clock.now()
    make_delivery(schedule.command, source_uuid=schedule.uuid, due_at=now - timedelta(hours=1))
    make_delivery(
        schedule.command,
        source_uuid=schedule.uuid,
        state=State.FAILED,
        reason=Reason.REJECTED,
        next_attempt_at=None,
        finished_at=now,
    )

    (row,) = operator.get(page(ScheduledExecution, "changelist")).context["cl"].result_list

    assert row.last_state == State.FAILED


def test_the_link_by_uuid_leads_to_the_page(operator: Client) -> None:
    schedule = make_schedule()

    response = operator.get(f"/admin/scheduling/scheduledexecution/by-uuid/{schedule.uuid}/")

    assert response["Location"] == page_of(schedule)


def test_the_link_by_uuid_of_a_deleted_schedule_leads_to_its_deliveries(operator: Client) -> None:
    uuid = uuid4()

    response = operator.get(f"/admin/scheduling/scheduledexecution/by-uuid/{uuid}/")

    assert response["Location"] == f"{page(Delivery, 'changelist')}?q={uuid}"


@pytest.mark.parametrize("term", ["report", "uuid"])
def test_a_schedule_is_found_by_its_name_and_by_its_uuid(operator: Client, term: str) -> None:
    schedule = make_schedule(name="report")
    make_schedule(name="reports")

    response = operator.get(page(ScheduledExecution, "changelist"), {"q": getattr(schedule, term, term)})

    assert list(response.context["cl"].result_list) == [schedule]


def test_a_payload_is_shown_as_text_and_never_as_html(operator: Client) -> None:
    schedule = make_schedule(payload={"text": "<script>alert(1)</script>"})

    html = operator.get(page_of(schedule)).content.decode()

    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "<script>alert(1)" not in html
