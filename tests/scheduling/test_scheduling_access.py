"""Who can reach a schedule, and how hostile requests are answered."""

from __future__ import annotations

import pytest

from tests.api import ApiClient, Caller
from tests.factories import make_api_key, make_command, make_installation, make_organization, make_token, make_user
from tests.lib.hostile import HOSTILE_BODIES, HOSTILE_PATH_SEGMENTS, HOSTILE_QUERIES
from tests.scheduling.schedules import ABSENT, LIST, create_uuid, detail, stored

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("method", ["get", "put", "patch", "delete"])
def test_a_stranger_does_not_find_a_schedule(alice: ApiClient, mallory: ApiClient, method: str) -> None:
    uuid = create_uuid(alice)

    response = getattr(mallory, method)(detail(uuid))

    assert response.status_code == 404
    assert response.json() == {"detail": "Not found.", "code": "not_found"}
    assert stored(uuid)


@pytest.mark.parametrize("uuid", ["nonsense", "0", ABSENT, f"{{{ABSENT}}}"])
def test_an_unknown_uuid_is_not_found(alice: ApiClient, uuid: str) -> None:
    assert alice.get(detail(uuid)).json() == {"detail": "Not found.", "code": "not_found"}


def test_a_public_command_never_sees_the_schedules_of_another_public_command(alice: ApiClient) -> None:
    """Two public commands of different organizations serve the same user. Each sees only its own schedules."""
    user = make_user(make_organization())
    callers = []
    for _ in range(2):
        command = make_command(is_public=True)
        make_installation(command, user.organization)
        row, key = make_api_key(command=command)
        callers.append(ApiClient(Caller(user.organization, command, user, row, key, make_token(command, user))))
    first, second = callers
    uuid = create_uuid(first)

    assert first.get(detail(uuid)).status_code == 200
    assert second.get(detail(uuid)).status_code == 404


@pytest.mark.parametrize(("method", "path"), [("POST", LIST), ("GET", LIST), ("GET", detail(ABSENT))])
def test_a_request_without_a_key_is_refused(alice: ApiClient, method: str, path: str) -> None:
    response = alice.request(method, path, key=None)

    assert response.status_code == 401
    assert response.json() == {"detail": "Authentication credentials were not provided.", "code": "not_authenticated"}
    assert response.headers["WWW-Authenticate"]


@pytest.mark.parametrize("method", ["get", "put", "delete"])
def test_reading_or_changing_a_schedule_needs_a_token(alice: ApiClient, method: str) -> None:
    uuid = create_uuid(alice)

    response = getattr(alice, method)(detail(uuid), token=None)

    assert response.status_code == 400
    assert response.json() == {"detail": "You should specify a valid exchange token", "code": "missing_token"}


def test_a_key_without_the_scope_is_refused(alice: ApiClient) -> None:
    client = ApiClient(alice.caller.with_scopes("STORAGE"))

    response = client.post(LIST, {"name": "report"})

    assert response.status_code == 403
    assert response.json()["code"] == "insufficient_scope"


def test_another_method_is_not_allowed(alice: ApiClient) -> None:
    response = alice.put(LIST, {})

    assert response.status_code == 405
    assert response.json()["code"] == "method_not_allowed"


@pytest.mark.parametrize("name", HOSTILE_BODIES)
def test_a_hostile_body_gets_a_clear_error(alice: ApiClient, name: str) -> None:
    uuid = create_uuid(alice)

    for method, path in (("POST", LIST), ("PUT", detail(uuid))):
        response = alice.request(method, path, raw=HOSTILE_BODIES[name])

        assert response.status_code < 500
        assert set(response.json()) >= {"detail", "code"} or response.status_code == 200


@pytest.mark.parametrize("query", HOSTILE_QUERIES)
def test_a_hostile_query_gets_a_clear_answer(alice: ApiClient, query: str) -> None:
    uuid = create_uuid(alice)

    for path in (LIST, detail(uuid)):
        assert alice.get(f"{path}?{query}").status_code < 500


@pytest.mark.parametrize("segment", HOSTILE_PATH_SEGMENTS)
def test_a_hostile_path_gets_a_clear_answer(alice: ApiClient, segment: str) -> None:
    response = alice.get(f"{LIST}{segment}/")

    assert response.status_code in {400, 404}
    assert "detail" in response.json()
