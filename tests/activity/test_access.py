"""Who may record and list activity."""

from __future__ import annotations

import pytest

from activity.models import ActivityRecord
from organizations.models import User
from tests.activity.records import BODY, MISSING_TOKEN, PATH
from tests.api import ApiClient

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_a_request_without_a_token_gets_the_missing_token_error(alice: ApiClient, method: str) -> None:
    response = alice.request(method, PATH, {"category": 1}, token=None)

    assert response.status_code == 400
    assert response.json() == MISSING_TOKEN


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_a_request_without_a_key_is_refused(alice: ApiClient, method: str) -> None:
    response = alice.request(method, PATH, BODY, key=None)

    assert response.status_code == 401
    assert response.json() == {"detail": "Authentication credentials were not provided.", "code": "not_authenticated"}
    assert "WWW-Authenticate" in response


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_a_key_without_the_scope_is_refused(alice: ApiClient, method: str) -> None:
    client = ApiClient(alice.caller.with_scopes("EVENT_SUBSCRIPTION", "STORAGE", "DIRECTORY"))

    response = client.request(method, PATH, BODY)

    assert response.status_code == 403
    assert response.json()["code"] == "insufficient_scope"
    assert not ActivityRecord.objects.exists()


def test_a_key_with_only_the_activity_scope_is_enough(alice: ApiClient) -> None:
    client = ApiClient(alice.caller.with_scopes("ACTIVITY"))

    assert client.post(PATH, BODY).status_code == 201
    assert client.get(PATH).status_code == 200


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_with_a_strangers_key_a_token_counts_as_missing(alice: ApiClient, mallory: ApiClient, method: str) -> None:
    response = mallory.request(method, PATH, BODY, token=alice.caller.token)

    assert response.status_code == 400
    assert response.json() == MISSING_TOKEN


def test_a_stranger_sees_no_records(alice: ApiClient, mallory: ApiClient) -> None:
    alice.post(PATH, BODY)

    response = mallory.get(PATH)

    assert (response.json(), response["X-Total-Count"]) == ([], "0")
    assert mallory.get(f"{PATH}?user_uuid={alice.caller.user.uuid}").json() == []


def test_the_token_of_an_inactive_user_counts_as_missing(alice: ApiClient) -> None:
    User.objects.filter(pk=alice.caller.user.pk).update(is_active=False)

    assert alice.post(PATH, BODY).json() == MISSING_TOKEN


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_records_cannot_be_changed_or_removed(alice: ApiClient, method: str) -> None:
    alice.post(PATH, BODY)

    response = alice.request(method, PATH, BODY)

    assert response.status_code == 405
    assert response.json()["code"] == "method_not_allowed"
    assert ActivityRecord.objects.count() == 1
