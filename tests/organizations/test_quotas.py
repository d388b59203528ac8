"""Quotas of organizations: what is over them is refused, and changes nothing."""

from __future__ import annotations

from typing import Any

import pytest

from commands_platform.lib import broker, clock
from deliveries.models import Delivery, Reason, State
from events.models import Hook
from organizations import quotas
from organizations.models import Organization
from organizations.quotas import Quota
from scheduling.models import ScheduledExecution
from storage.models import Item
from tests.api import ApiClient, ApiResponse
from tests.factories import make_delivery, make_schedule, make_token, make_user

pytestmark = pytest.mark.django_db

LIST = "/v1/platform/scheduling/"
STORAGE = "/v1/platform/storage/"
HOOKS = "/v1/platform/event-subscription/"


@pytest.fixture(autouse=True)
def _nothing_is_counted_yet() -> None:
    quotas._counts.clear()


def give(client: ApiClient, **values: int | None) -> None:
    """Sets quotas of the client's organization."""
    changes = {f"quota_{name}": value for name, value in values.items()}
    Organization.objects.filter(pk=client.caller.organization.pk).update(**changes)


def create(client: ApiClient, **values: Any) -> ApiResponse:
    return client.post(LIST, {"name": "report", "execution_frequency": 3600, **values})


def store(client: ApiClient, key: str, value: object, **params: Any) -> ApiResponse:
    return client.post(STORAGE, {"op": "set", "params": {"key": key, "value": value, **params}})


def refused(response: ApiResponse, message: str) -> bool:
    return (response.status_code, response.json()) == (403, {"detail": message, "code": "quota_exceeded"})


def test_an_organization_may_have_as_many_schedules_as_its_quota(alice: ApiClient, mallory: ApiClient) -> None:
    give(alice, schedules=2)
    message = 'The quota "schedules" is exceeded: the organization has 2 of 2 schedules. Remove some, or ask for more.'

    answers = [create(alice) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 403]
    assert refused(answers[2], message)
    assert ScheduledExecution.objects.count() == 2
    assert create(mallory).status_code == 200
    alice.delete(f"{LIST}{answers[0].json()['uuid']}/")
    assert create(alice).status_code == 200


def test_the_settings_have_the_default_and_zero_is_no_limit(alice: ApiClient, settings: Any) -> None:
    settings.QUOTAS = {**settings.QUOTAS, "schedules": 1}

    assert [create(alice).status_code for _ in range(2)] == [200, 403]
    give(alice, schedules=0)
    assert create(alice).status_code == 200


def test_no_quota_costs_no_statement(alice: ApiClient, django_assert_max_num_queries: Any) -> None:
    store(alice, "k", 1)

    with django_assert_max_num_queries(2):
        assert store(alice, "k", 2).status_code == 200


def test_a_large_quota_is_not_counted_each_time(alice: ApiClient) -> None:
    give(alice, schedules=100)
    counts = []

    def count(limit: int) -> int:
        counts.append(limit)
        return 10

    organization = Organization.objects.get(pk=alice.caller.organization.pk)
    for _ in range(80):
        quotas.use(organization, Quota.SCHEDULES, 1, count=count)
    assert counts == [100]
    quotas.use(organization, Quota.SCHEDULES, 1, count=count)
    assert counts == [100, 100]


@pytest.mark.parametrize(
    "body",
    [
        {"execution_frequency": 59},
        {"execution_frequency": 0, "cron": "0,30 9 * * *"},
        {"execution_frequency": 0, "cron": "*/30 * * * * *", "cron_seconds": True},
    ],
)
def test_a_schedule_may_not_run_more_often_than_the_shortest_period(alice: ApiClient, body: dict[str, Any]) -> None:
    give(alice, shortest_period=3600 if "0,30" in str(body) else 60)

    response = create(alice, **body)

    assert (response.status_code, response.json()["code"]) == (403, "quota_exceeded")
    assert 'The quota "shortest_period" is exceeded: two of the runs would be' in response.json()["detail"]
    assert not ScheduledExecution.objects.exists()


def test_a_change_may_not_make_a_schedule_run_too_often(alice: ApiClient) -> None:
    give(alice, shortest_period=3600)
    path = f"{LIST}{create(alice).json()['uuid']}/"

    assert alice.put(path, {"execution_frequency": 60}).status_code == 403
    assert alice.put(path, {"name": "renamed"}).status_code == 200
    assert create(alice, execution_frequency=0).status_code == 200
    assert ScheduledExecution.objects.order_by("id")[0].execution_frequency == 3600


def test_an_organization_may_store_as_many_bytes_as_its_quota(alice: ApiClient, mallory: ApiClient) -> None:
    give(alice, stored_bytes=100)

    assert store(alice, "k", "x" * 90).status_code == 200
    response = store(alice, "l", "x" * 10)
    message = (
        'The quota "stored_bytes" is exceeded: the organization has 93 of 100 bytes of stored keys and values.'
        " Remove some, or ask for more."
    )
    assert refused(response, message)
    assert [item.key for item in Item.objects.all()] == ["k"]
    # The old value of an item makes room for the new one.
    assert store(alice, "k", "y" * 97).status_code == 200
    assert store(alice, "k", "y" * 98, if_version=2).status_code == 403
    assert store(alice, "k", "y", if_version=2).status_code == 200
    many = {"op": "set_many", "params": {"items": {"l": "x" * 60, "m": "x" * 40}}}
    assert alice.post(STORAGE, many).status_code == 403
    assert mallory.post(STORAGE, many).status_code == 200


def test_an_organization_may_have_as_many_hooks_as_its_quota(alice: ApiClient) -> None:
    give(alice, hooks=1)
    other = make_token(alice.caller.command, make_user(alice.caller.organization))
    body = {"subscriptions": ["kudos.*"]}

    assert alice.post(HOOKS, body).status_code == 200
    assert alice.post(HOOKS, body).status_code == 200
    response = alice.post(HOOKS, body, token=other)
    assert (response.status_code, response.json()["code"]) == (403, "quota_exceeded")
    assert Hook.objects.count() == 1
    alice.delete(HOOKS)
    assert alice.post(HOOKS, body, token=other).status_code == 200


@pytest.fixture
def finished(alice: ApiClient) -> str:
    """Creates a schedule with three failed slots. Returns its path."""
    schedule = make_schedule(alice.caller.command)
    for number in range(3):
        make_delivery(
            schedule.command, source_uuid=schedule.uuid, due_at=clock.now().replace(microsecond=number),
            state=State.FAILED, reason=Reason.REJECTED, next_attempt_at=None, finished_at=clock.now(),
        )  # fmt: skip
    return f"{LIST}{schedule.uuid}/"


SPAN = {"from": "2020-01-01T00:00:00Z", "to": "2100-01-01T00:00:00Z"}


def test_callers_may_redeliver_as_often_in_an_hour_as_the_quota(alice: ApiClient, finished: str) -> None:
    give(alice, redeliveries=2)
    message = (
        'The quota "redeliveries" is exceeded: the organization has 1 of 2 redeliveries in this hour.'
        " Remove some, or ask for more."
    )
    row = Delivery.objects.order_by("due_at")[0]

    assert alice.post(f"{finished}slots/{row.pk}/redeliver/").status_code == 200
    assert alice.post(f"{finished}redeliver/", {**SPAN, "dry_run": True}).json()["count"] == 2
    assert refused(alice.post(f"{finished}redeliver/", SPAN), message)
    assert Delivery.objects.pending().count() == 1
    assert alice.post(f"{finished}redeliver/", {**SPAN, "limit": 1}).status_code == 200
    assert alice.post(f"{finished}redeliver/", SPAN).status_code == 403


def test_redeliveries_are_not_limited_while_valkey_is_away(
    alice: ApiClient, finished: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(alice, redeliveries=1)
    monkeypatch.setattr(broker, "_outage", broker._Outage())
    broker.note_away()

    assert alice.post(f"{finished}redeliver/", SPAN).status_code == 200


def test_a_stranger_and_a_caller_without_a_key_use_nobodys_quota(
    alice: ApiClient, mallory: ApiClient, finished: str
) -> None:
    give(alice, redeliveries=1)

    assert mallory.post(f"{finished}redeliver/", SPAN).status_code == 404
    assert alice.post(f"{finished}redeliver/", SPAN, key=None).status_code == 401
    assert alice.post(f"{finished}redeliver/", {**SPAN, "limit": 1}).status_code == 200
