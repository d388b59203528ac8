"""The dashboard, which is the first page of the admin."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse

from commands_platform.lib import clock
from deliveries.models import State
from processes.models import Role
from tests.admin import make_operator, number_of_queries
from tests.factories import make_delivery, make_process


@pytest.fixture
def operator(db: None) -> Client:
    return make_operator(is_superuser=True)


def test_the_dashboard_shows_whether_work_is_done(operator: Client) -> None:
    now = clock.now()
    make_delivery(next_attempt_at=now - timedelta(minutes=3))
    for state, reason in ((State.DELIVERED, ""), (State.FAILED, "rejected"), (State.FAILED, "retries_exhausted")):
        make_delivery(state=state, reason=reason, next_attempt_at=None, finished_at=now)
    for role in Role:
        make_process(role)

    figures = operator.get(reverse("admin:index")).context["figures"]

    shown = {figure.title: figure.figure for figure in figures}
    assert shown["Pending"] == "1"
    assert shown["Delay"] == "3 min"
    assert shown["Delivered"] == "1"
    assert shown["Failed"] == "2"
    assert shown["Processes"] == "all running"


def test_the_dashboard_says_which_processes_are_missing(operator: Client) -> None:
    for role in (Role.WEB, Role.DISPATCHER):
        make_process(role)
    make_process(Role.BEAT, seen_ago=timedelta(minutes=1))

    figures = operator.get(reverse("admin:index")).context["figures"]

    assert [figure.figure for figure in figures if figure.is_bad] == ["no beat and no deliverer"]


def test_the_dashboard_costs_the_same_for_one_delivery_and_for_many(operator: Client) -> None:
    make_delivery(state=State.FAILED, reason="rejected", next_attempt_at=None, finished_at=clock.now())
    number_of_queries(operator, reverse("admin:index"))
    with_one = number_of_queries(operator, reverse("admin:index"))
    for _ in range(19):
        make_delivery(state=State.FAILED, reason="rejected", next_attempt_at=None, finished_at=clock.now())

    assert number_of_queries(operator, reverse("admin:index")) == with_one
