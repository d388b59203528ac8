"""Expired sessions of the admin are removed from the database."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.sessions.models import Session
from django.test import Client

from commands_platform.lib import clock
from commands_platform.operators.expired_sessions import remove_expired_sessions
from tests.admin import make_operator
from tests.locks import held_elsewhere


def _make_session(key: str, *, expired_for: timedelta) -> Session:
    return Session.objects.create(session_key=key, session_data="", expire_date=clock.now() - expired_for)


@pytest.mark.django_db
def test_expired_sessions_are_removed_and_others_stay() -> None:
    _make_session("expired", expired_for=timedelta(seconds=1))
    _make_session("current", expired_for=timedelta(hours=-8))

    remove_expired_sessions()

    assert Session.objects.get().session_key == "current"


@pytest.mark.django_db
def test_an_operator_stays_logged_in() -> None:
    operator: Client = make_operator(is_superuser=True)

    assert remove_expired_sessions() == 0
    assert operator.get("/admin/").status_code == 200


@pytest.mark.django_db
def test_one_call_removes_a_limited_number_of_sessions_oldest_first() -> None:
    for hours in (1, 3, 2):
        _make_session(f"expired {hours}", expired_for=timedelta(hours=hours))

    assert remove_expired_sessions(limit=2) == 2
    assert Session.objects.get().session_key == "expired 1"


@pytest.mark.django_db(transaction=True)
def test_a_locked_session_is_left_for_the_next_call() -> None:
    locked = _make_session("locked", expired_for=timedelta(hours=2))
    _make_session("free", expired_for=timedelta(hours=1))

    with held_elsewhere(Session.objects.filter(pk=locked.pk)):
        assert remove_expired_sessions() == 1
        assert Session.objects.get() == locked

    assert remove_expired_sessions() == 1
