"""A process knows whether others may take it for dead."""

from __future__ import annotations

import math
import time
from datetime import timedelta

import pytest

from harness.platform import wait_until
from processes import heartbeats, standing
from processes.heartbeats import Heartbeat
from processes.losses import LOST_AFTER
from processes.models import Process, Role
from processes.standing import SURE_SECONDS, Standing
from tests.locks import held_elsewhere


def test_a_process_without_a_row_is_sure_of_itself() -> None:
    assert Standing().alive_since() == -math.inf


def test_a_process_that_reports_is_sure_only_after_a_report() -> None:
    process = Standing()
    process.expect_reports()
    assert process.alive_since() == math.inf

    before = time.monotonic()
    process.note_report(began=before)

    assert before <= process.alive_since() <= time.monotonic()


def test_reports_without_a_gap_leave_earlier_claims_alone() -> None:
    process = Standing()
    process.note_report(began=time.monotonic())
    first = process.alive_since()

    process.note_report(began=time.monotonic())

    assert process.alive_since() == first


def test_a_process_whose_reports_fail_becomes_unsure_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing, "SURE_SECONDS", 0.05)
    process = Standing()
    process.note_report(began=time.monotonic())
    wait_until(lambda: process.alive_since() == math.inf)

    process.note_report(began=(began := time.monotonic()))

    assert process.alive_since() >= began


def test_a_report_that_takes_too_long_is_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have been written only after others took over."""
    process = Standing()
    process.note_report(began=time.monotonic() - SURE_SECONDS)
    before = time.monotonic()

    process.note_report(began=before)

    assert process.alive_since() >= before


def test_a_process_stops_before_others_take_over() -> None:
    assert timedelta(seconds=SURE_SECONDS) < LOST_AFTER


@pytest.mark.django_db(transaction=True)
def test_a_process_learns_from_its_next_report_that_others_took_over() -> None:
    process = Standing()
    heartbeat = Heartbeat(Role.DELIVERER, version="1", standing=process)
    heartbeat.start()
    wait_until(lambda: process.alive_since() < math.inf)
    first = process.alive_since()
    row = Process.objects.get()

    Process.objects.update(taken_over_at=row.seen_at)

    wait_until(lambda: first < process.alive_since() < math.inf)
    heartbeat.stop()


@pytest.mark.django_db(transaction=True)
def test_a_process_whose_row_somebody_has_locked_stays_sure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeats, "REPORT_EVERY", timedelta(milliseconds=10))
    process = Standing()
    heartbeat = Heartbeat(Role.DELIVERER, version="1", standing=process)
    heartbeat._report(time.monotonic())
    first = process.alive_since()

    with held_elsewhere(Process.objects.all()):
        process.note_report(began=time.monotonic() - SURE_SECONDS + 2)
        heartbeat._report(time.monotonic())
        assert process._sure_until > time.monotonic() + 2

    assert process.alive_since() == first
