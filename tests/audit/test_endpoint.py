"""`GET /v1/platform/audit/`."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from typing import Any

import pytest

from commands_platform.lib import clock
from commands_platform.lib.instants import format_instant
from tests.api import ApiClient
from tests.audit.changes import make_chain, make_changes, seal_all
from tests.factories import make_api_key, make_user

pytestmark = pytest.mark.django_db

PATH = "/v1/platform/audit/"


@pytest.fixture
def manager(alice: ApiClient) -> dict[str, Any]:
    """Returns the options of a request with a key that manages Alice's organization."""
    return {"key": make_api_key(alice.caller.organization, scopes=["MANAGE"])[1], "token": None}


def read(client: ApiClient, how: dict[str, Any], query: str = "") -> list[Any]:
    response = client.get(f"{PATH}{query}", **how)
    assert response.status_code == 200, response.content
    results: list[Any] = response.json()["results"]
    return results


def test_a_manager_reads_the_changes_of_the_organization_newest_first(
    alice: ApiClient, manager: dict[str, Any]
) -> None:
    user = make_user(alice.caller.organization)
    changes = make_changes(alice.caller.organization, 2)

    first, second, *_ = read(alice, manager)

    assert first == {
        "uuid": str(changes[1].pk),
        "recorded_at": format_instant(changes[1].recorded_at),
        "verb": "changed",
        "object_kind": "user",
        "object_uuid": changes[1].object_uuid,
        "object_name": "Ada 1",
        "old": {"full_name": "Ada 0"},
        "new": {"full_name": "Ada 1"},
        "actor_kind": "platform",
        "actor_uuid": None,
        "actor_name": "commands-platform",
        "actor_address": "",
        "correlation_id": "",
        "position": None,
        "hash": None,
    }
    assert second["uuid"] == str(changes[0].pk)
    assert user.pk


def test_the_chain_can_be_verified_from_the_answers_alone(alice: ApiClient, manager: dict[str, Any]) -> None:
    make_changes(alice.caller.organization, 3)
    alice.post("/v1/platform/scheduling/", {"name": "münchen", "payload": {"ß": 1.5}, "timeout": 3})
    seal_all()

    previous = ""
    for change in reversed(read(alice, manager)):
        shown = change.pop("hash")
        content = json.dumps(change, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        previous = hashlib.sha256((previous + content).encode()).hexdigest()
        assert shown == previous
    assert previous


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("?verb=changed", 3),
        ("?verb=deleted", 0),
        ("?verb=deleted,changed", 3),
        ("?object_kind=user", 3),
        ("?object_kind=command", 0),
        ("?actor_kind=platform&verb=changed", 3),
        ("?actor_kind=operator", 0),
        ("?actor_uuid=7f1c3f9e-8a53-4f0f-9a44-0c7f9c7f9c7f", 0),
        ("?since=2020-01-01T00:00:00Z&verb=changed", 3),
        ("?until=2020-01-01T00:00:00Z", 0),
    ],
)
def test_filters(alice: ApiClient, manager: dict[str, Any], query: str, count: int) -> None:
    make_changes(alice.caller.organization, 3)

    assert len(read(alice, manager, query)) == count


def test_changes_of_one_object_and_of_one_span(alice: ApiClient, manager: dict[str, Any]) -> None:
    changes = make_changes(alice.caller.organization, 3)
    make_changes(alice.caller.organization, 1)

    of_one = read(alice, manager, f"?object_uuid={changes[0].object_uuid}")
    assert [each["uuid"] for each in of_one] == [str(change.pk) for change in reversed(changes)]

    second = format_instant(changes[1].recorded_at)
    later = read(alice, manager, f"?since={second}&object_uuid={changes[0].object_uuid}")
    earlier = read(alice, manager, f"?until={second}&object_uuid={changes[0].object_uuid}")
    assert {each["uuid"] for each in later} == {str(change.pk) for change in changes[1:]}
    assert {each["uuid"] for each in earlier} == {str(changes[0].pk)}


def test_the_changes_of_one_key(alice: ApiClient, manager: dict[str, Any]) -> None:
    alice.post("/v1/platform/scheduling/", {"name": "report", "cron": "0 9 * * *"})

    of_key = read(alice, manager, f"?actor_uuid={alice.caller.api_key.uuid}")

    assert [each["object_name"] for each in of_key] == ["report"]


def test_pages_follow_each_other_without_a_gap(alice: ApiClient, manager: dict[str, Any]) -> None:
    make_chain(alice.caller.organization, 5)
    url: str | None = f"{PATH}?limit=2&verb=changed&cursor="
    seen = []

    while url:
        page = alice.get(url.removeprefix("http://testserver"), **manager).json()
        seen += [change["position"] for change in page["results"]]
        url = page["next"]
        # Rows that are added meanwhile move nothing.
        make_changes(alice.caller.organization, 1)

    assert seen == sorted(seen, reverse=True)
    assert len(seen) == 5


@pytest.mark.parametrize("query", ["?verb=eaten", "?cursor=nonsense", "?since=yesterday", "?actor_uuid=1"])
def test_a_wrong_filter_is_refused(alice: ApiClient, manager: dict[str, Any], query: str) -> None:
    response = alice.get(f"{PATH}{query}", **manager)

    assert (response.status_code, response.json()["code"]) == (400, "params_validation_error")


def test_an_unknown_parameter_is_refused(alice: ApiClient, manager: dict[str, Any]) -> None:
    response = alice.get(f"{PATH}?kind=user", **manager)

    assert (response.status_code, response.json()["code"]) == (400, "unknown_parameter")


def test_a_stranger_sees_nothing_of_it(alice: ApiClient, mallory: ApiClient) -> None:
    changes = make_changes(alice.caller.organization, 1)
    key = make_api_key(mallory.caller.organization, scopes=["MANAGE"])[1]

    seen = read(mallory, {"key": key, "token": alice.caller.token}, f"?object_uuid={changes[0].object_uuid}")

    assert seen == []


def test_a_key_without_the_scope_is_refused(alice: ApiClient) -> None:
    assert alice.get(PATH).status_code == 403


def test_a_request_without_a_key_is_refused(alice: ApiClient) -> None:
    assert alice.get(PATH, key=None).status_code == 401


def test_a_span_in_the_future_is_empty(alice: ApiClient, manager: dict[str, Any]) -> None:
    make_changes(alice.caller.organization, 1)
    tomorrow = format_instant(clock.now() + timedelta(days=1))

    assert read(alice, manager, f"?since={tomorrow}") == []
