"""The database's clock decides what is due, so hosts with wrong clocks agree with each other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from commands_platform.lib import clock
from deliveries import queue
from deliveries.models import Reason, State
from scheduling import dispatch, services, uptime
from tests.deliveries.senders import make_sender
from tests.factories import make_command, make_delivery, make_schedule
from tests.receiver import Answer, Receiver
from tests.scheduling.schedules import URL, rows_of

pytestmark = pytest.mark.django_db

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
APART = [30 * SECOND, -30 * SECOND]


@contextmanager
def host_clock(apart: timedelta) -> Iterator[None]:
    """Makes this process behave as if it had just started on a host whose clock is wrong by that much."""
    uptime._process_looks.cache_clear()
    with time_machine.travel(datetime.now(UTC) + apart):
        yield


def test_two_dispatchers_take_one_repeat_for_a_slot_and_plan_no_slot_too_early() -> None:
    now, command = clock.now(), make_command(callback_url=URL)
    due = make_schedule(command, repeats=3, anchor_at=now - SECOND - HOUR, next_run_at=now - SECOND)
    coming = make_schedule(command, repeats=3, anchor_at=now + 20 * SECOND - HOUR, next_run_at=now + 20 * SECOND)

    for apart in (*APART, *APART):
        with host_clock(apart):
            dispatch.dispatch_due()

    for schedule in (due, coming):
        schedule.refresh_from_db()
    assert [(row.due_at, row.state) for row in rows_of(due)] == [(now - SECOND, State.PENDING)]
    assert (due.repeats, due.next_run_at) == (2, now - SECOND + HOUR)
    assert (coming.repeats, rows_of(coming)) == (3, [])


def test_a_dispatcher_on_a_host_ahead_of_the_others_sees_no_outage() -> None:
    """It starts while another dispatcher runs on a host that is half a minute behind."""
    with host_clock(APART[1]):
        dispatch.dispatch_due()
    now = clock.now()
    late = make_schedule(make_command(callback_url=URL), next_run_at=now, anchor_at=now - HOUR, misfire_policy="skip")

    with host_clock(APART[0]):
        dispatch.dispatch_due()

    assert [(row.state, row.reason) for row in rows_of(late)] == [(State.PENDING, "")]


@pytest.mark.parametrize("apart", APART, ids=["ahead", "behind"])
def test_a_deliverer_claims_only_due_deliveries(apart: timedelta) -> None:
    now = clock.now()
    due, _ = make_delivery(now=now), make_delivery(now=now, due_at=now, next_attempt_at=now + 20 * SECOND)

    with host_clock(apart):
        claims = queue.claim(limit=10, lease=60 * SECOND)
        (again, _) = queue.claim(limit=10, lease=60 * SECOND), dispatch.dispatch_due()

    assert [claim.id for claim in claims] == [due.pk]
    assert again == []
    due.refresh_from_db()
    assert due.leased_until is not None
    assert 59 * SECOND < due.leased_until - now < 90 * SECOND


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("apart", APART, ids=["ahead", "behind"])
def test_a_deliverer_sends_and_retries_by_the_clock_of_the_database(apart: timedelta, receiver: Receiver) -> None:
    receiver.answer_with(Answer(503))
    delivery = make_delivery(url=receiver.url)

    with host_clock(apart):
        make_sender().drain()

    delivery.refresh_from_db()
    assert (delivery.state, delivery.attempt_count) == (State.PENDING, 1)
    assert delivery.next_attempt_at is not None
    assert timedelta() < delivery.next_attempt_at - clock.now() < 10 * SECOND


def test_a_change_on_a_host_behind_the_others_comes_after_what_was_planned() -> None:
    now = clock.now()
    schedule = make_schedule(
        make_command(callback_url=URL), repeats=2, anchor_at=now - SECOND - HOUR, next_run_at=now - SECOND
    )
    with host_clock(APART[0]):
        dispatch.dispatch_due()

    with host_clock(APART[1]):
        services.update_scheduled_execution(schedule=schedule, changes={"payload": {"new": True}})

    schedule.refresh_from_db()
    assert (schedule.repeats, schedule.next_run_at) == (1, now - SECOND + HOUR)
    assert [row.reason for row in rows_of(schedule)] == [Reason.SCHEDULE_CHANGED]
