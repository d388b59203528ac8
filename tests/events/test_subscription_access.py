"""Who may make and remove a hook."""

from __future__ import annotations

import orjson
import pytest

from organizations.models import User
from tests.api import ApiClient
from tests.events.subscriptions import BODY, MISSING_TOKEN, PATH, hook_of
from tests.lib.hostile import HOSTILE_HEADER_VALUES

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_a_request_without_a_token_gets_the_missing_token_error(alice: ApiClient, method: str) -> None:
    response = alice.request(method, PATH, BODY, token=None)

    assert response.status_code == 400
    assert response.json() == MISSING_TOKEN


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_a_missing_token_is_reported_before_an_invalid_body(alice: ApiClient, method: str) -> None:
    assert alice.request(method, PATH, {"subscriptions": 1}, token=None).json() == MISSING_TOKEN


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_a_request_without_a_key_is_refused(alice: ApiClient, method: str) -> None:
    response = alice.request(method, PATH, BODY, key=None)

    assert response.status_code == 401
    assert response.json() == {"detail": "Authentication credentials were not provided.", "code": "not_authenticated"}
    assert "WWW-Authenticate" in response


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_a_key_without_the_scope_is_refused(alice: ApiClient, method: str) -> None:
    client = ApiClient(alice.caller.with_scopes("EVENTS_PUBLISH", "SCHEDULING", "ACTIVITY"))

    response = client.request(method, PATH, BODY)

    assert response.status_code == 403
    assert response.json()["code"] == "insufficient_scope"


def test_a_key_with_only_the_scope_is_enough(alice: ApiClient) -> None:
    client = ApiClient(alice.caller.with_scopes("EVENT_SUBSCRIPTION"))

    assert client.post(PATH, BODY).status_code == 200
    assert client.delete(PATH).status_code == 200


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_with_a_strangers_key_a_token_counts_as_missing(alice: ApiClient, mallory: ApiClient, method: str) -> None:
    alice.post(PATH, BODY)

    response = mallory.request(method, PATH, {"subscriptions": ["*"]}, token=alice.caller.token)

    hook = hook_of(alice.caller)
    assert response.status_code == 400
    assert response.json() == MISSING_TOKEN
    assert hook is not None
    assert hook.subscriptions == BODY["subscriptions"]


def test_a_strangers_own_requests_do_not_change_the_hook(alice: ApiClient, mallory: ApiClient) -> None:
    alice.post(PATH, BODY)

    mallory.post(PATH, {"subscriptions": ["*"]})
    mallory.delete(PATH)

    hook = hook_of(alice.caller)
    assert hook is not None
    assert hook.subscriptions == BODY["subscriptions"]


def test_the_token_of_an_inactive_user_counts_as_missing(alice: ApiClient) -> None:
    User.objects.filter(pk=alice.caller.user.pk).update(is_active=False)

    assert alice.post(PATH, BODY).json() == MISSING_TOKEN


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_other_methods_are_not_allowed(alice: ApiClient, method: str) -> None:
    response = alice.request(method, PATH)

    assert response.status_code == 405
    assert response.json()["code"] == "method_not_allowed"


@pytest.mark.parametrize("value", HOSTILE_HEADER_VALUES, ids=range(len(HOSTILE_HEADER_VALUES)))
def test_a_hostile_token_is_answered_in_json(alice: ApiClient, value: str) -> None:
    response = alice.post(PATH, BODY, token=None, headers={"X-EXCHANGE-TOKEN": value})

    assert response.status_code == 400
    assert orjson.loads(response.content)["code"] in ("missing_token", "bad_request")
