from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any
from unittest.mock import ANY

import pytest
from django.conf import settings as django_settings
from django.db import connection, connections
from django.test import Client

from commands_platform import health
from commands_platform.lib import broker, clock
from commands_platform.local.ports import free_port
from events.publishing import publish
from processes.models import Process, Role
from tests.api import ApiResponse, make_caller
from tests.events.hooks import event_in, make_hook
from tests.factories import make_delivery, make_process, make_schedule

SECRET = "hunter2-of-the-test"


@pytest.fixture(autouse=True)
def no_recent_checks() -> None:
    """Each test asks anew."""
    health._recent.clear()


@pytest.fixture(autouse=True)
def no_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    """No outage of the broker outlasts its test."""
    monkeypatch.setattr(broker, "_outage", broker._Outage())


@pytest.fixture
def processes(db: None) -> None:
    """One process of each role has reported just now, and has begun some work."""
    for role in Role:
        make_process(role, worked_ago=timedelta())


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


def statuses(response: ApiResponse) -> dict[str, str]:
    return {name: check["status"] for name, check in response.json()["checks"].items()}


@pytest.mark.usefixtures("processes")
def test_readyz_is_ready_if_every_check_is_ok() -> None:
    response = get("/readyz")

    assert (response.status_code, response.json()["status"]) == (200, "ready")
    assert set(statuses(response)) == {
        *("database", "migrations", "secrets", "broker", "dispatcher", "deliverer", "beat", "overdue"),
    }
    assert set(statuses(response).values()) == {"ok"}
    assert response.json()["checks"]["dispatcher"] == {"status": "ok", "age_seconds": ANY, "note": "1 running"}
    assert_contains_no_secret(response)


@pytest.mark.usefixtures("processes", "broker_is_away")
def test_readyz_is_degraded_without_the_broker() -> None:
    response = get("/readyz")

    assert (response.status_code, response.json()["status"]) == (200, "degraded")
    assert {name for name, status in statuses(response).items() if status != "ok"} == {"broker"}
    assert_contains_no_secret(response)


@pytest.mark.parametrize(
    ("seen_ago", "worked_ago", "note"),
    [(15, 15, "None has reported lately."), (0, 15, "It sends no ticks."), (0, None, "It sends no ticks.")],
)
@pytest.mark.usefixtures("processes")
def test_readyz_is_degraded_without_ticks_of_beat(seen_ago: int, worked_ago: int | None, note: str) -> None:
    Process.objects.filter(role=Role.BEAT).delete()
    worked = None if worked_ago is None else timedelta(seconds=worked_ago)
    make_process(Role.BEAT, seen_ago=timedelta(seconds=seen_ago), worked_ago=worked)

    response = get("/readyz")

    assert (response.status_code, response.json()["status"]) == (200, "degraded")
    assert response.json()["checks"]["beat"]["status"] == "degraded"
    assert response.json()["checks"]["beat"]["note"] == note


@pytest.mark.parametrize("role", [Role.DISPATCHER, Role.DELIVERER])
@pytest.mark.usefixtures("processes")
def test_readyz_is_not_ready_without_a_worker(role: Role) -> None:
    Process.objects.filter(role=role).update(seen_at=clock.now() - timedelta(minutes=3))

    response = get("/readyz")

    assert (response.status_code, response.json()["status"]) == (503, "not ready")
    check = response.json()["checks"][role]
    assert check["status"] == "down"
    assert 180 <= check["age_seconds"] < 240

    Process.objects.filter(role=role).delete()
    health._recent.clear()
    assert get("/readyz").json()["checks"][role] == {"status": "down", "note": "None has been seen."}


def _make_event(happened_at: datetime) -> None:
    hook = make_hook(make_caller())
    publish([event_in(hook.organization, happened_at=happened_at)])


@pytest.mark.parametrize("make", [lambda at: make_schedule(next_run_at=at), _make_event], ids=["schedule", "event"])
@pytest.mark.usefixtures("processes")
def test_readyz_reports_work_that_is_overdue(make: Callable[[datetime], object]) -> None:
    make(clock.now() - timedelta(minutes=1))

    response = get("/readyz")

    assert (response.status_code, response.json()["status"]) == (200, "degraded")
    assert response.json()["checks"]["overdue"]["status"] == "degraded"
    assert 60 <= response.json()["checks"]["overdue"]["age_seconds"] < 120


@pytest.mark.usefixtures("processes")
def test_deliveries_that_wait_for_their_receiver_do_not_make_readyz_degraded() -> None:
    make_delivery(next_attempt_at=clock.now() - timedelta(minutes=1))

    response = get("/readyz")

    assert response.json()["status"] == "ready"
    assert response.json()["checks"]["overdue"]["note"].startswith("The oldest delivery has waited for 6")


@pytest.mark.usefixtures("processes")
def test_readyz_is_degraded_while_no_dispatcher_works() -> None:
    Process.objects.filter(role=Role.DISPATCHER).update(worked_at=clock.now() - timedelta(minutes=2))

    assert get("/readyz").json()["checks"]["dispatcher"]["status"] == "degraded"


@pytest.mark.usefixtures("processes")
def test_readyz_is_computed_once_a_second(django_assert_num_queries: Any) -> None:
    get("/readyz")

    with django_assert_num_queries(0):
        get("/readyz")


@pytest.mark.usefixtures("database_is_away")
def test_readyz_is_not_ready_without_the_database() -> None:
    response = get("/readyz")

    assert response.status_code == 503
    assert statuses(response) == {"database": "down", "broker": "ok"}
    assert_contains_no_secret(response)


@pytest.mark.usefixtures("database_is_away", "broker_is_away")
def test_readyz_names_everything_that_is_missing() -> None:
    response = get("/readyz")

    assert response.status_code == 503
    assert statuses(response) == {"database": "down", "broker": "degraded"}
