from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.db import connection, connections
from django.test import Client

from commands_platform.lib import broker
from commands_platform.local.ports import free_port
from tests.api import ApiResponse

READY = {"status": "ready", "database": True, "secrets": True, "broker": True, "beat": True}
SECRET = "hunter2-of-the-test"


@pytest.fixture
def beat() -> Iterator[None]:
    """Notes that beat has just ticked."""
    broker.note_beat()
    yield
    broker.client().delete(broker.beat_key())


@pytest.fixture
def broker_is_away(settings: Any) -> Iterator[None]:
    settings.REDIS_URL = f"redis://:{SECRET}@127.0.0.1:{free_port()}/0"
    broker.client.cache_clear()
    yield
    broker.client.cache_clear()


@pytest.fixture
def database_is_away(db: None) -> Iterator[None]:
    """Points the default connection at a port where nothing listens, until the end of the test."""
    present = connections["default"]
    away = connection.copy()
    away.settings_dict |= {"HOST": "127.0.0.1", "PORT": free_port(), "PASSWORD": SECRET}
    connections["default"] = away
    yield
    connections["default"] = present


def get(path: str) -> ApiResponse:
    return Client().get(path)  # type: ignore[return-value]


def assert_contains_no_secret(response: Any) -> None:
    text = response.content.decode() + str(dict(response.headers))
    for secret in (SECRET, django_settings.SECRET_KEY, django_settings.REDIS_URL, django_settings.DATABASE_URL):
        assert secret not in text
    assert "127.0.0.1" not in text


def test_healthz_answers_ok() -> None:
    response = get("/healthz")

    assert (response.status_code, response.json()) == (200, {"status": "ok"})
    assert_contains_no_secret(response)


@pytest.mark.usefixtures("database_is_away", "broker_is_away")
def test_healthz_needs_neither_database_nor_broker() -> None:
    response = get("/healthz")

    assert (response.status_code, response.json()) == (200, {"status": "ok"})


@pytest.mark.usefixtures("db", "beat")
def test_readyz_is_ready_with_database_broker_and_beat() -> None:
    response = get("/readyz")

    assert (response.status_code, response.json()) == (200, READY)
    assert_contains_no_secret(response)


@pytest.mark.usefixtures("db")
def test_readyz_is_not_ready_without_beat() -> None:
    broker.client().delete(broker.beat_key())

    response = get("/readyz")

    assert (response.status_code, response.json()) == (503, {**READY, "status": "not ready", "beat": False})


@pytest.mark.usefixtures("beat")
def test_a_beat_counts_for_five_seconds() -> None:
    assert 4000 < broker.client().pttl(broker.beat_key()) <= 5000


@pytest.mark.usefixtures("db", "broker_is_away")
def test_readyz_is_not_ready_without_the_broker() -> None:
    response = get("/readyz")

    assert response.status_code == 503
    assert response.json() == {**READY, "status": "not ready", "broker": False, "beat": False}
    assert_contains_no_secret(response)


@pytest.mark.usefixtures("beat", "database_is_away")
def test_readyz_is_not_ready_without_the_database() -> None:
    response = get("/readyz")

    assert response.status_code == 503
    assert response.json() == {**READY, "status": "not ready", "database": False, "secrets": False}
    assert_contains_no_secret(response)


@pytest.mark.usefixtures("database_is_away", "broker_is_away")
def test_readyz_names_everything_that_is_missing() -> None:
    response = get("/readyz")

    assert response.status_code == 503
    assert response.json() == {key: "not ready" if key == "status" else False for key in READY}
