"""`/v1/platform/event-subscription/`: which bodies are accepted, and how the others are refused."""

from __future__ import annotations

import orjson
import pytest

from tests.api import ApiClient
from tests.events.subscriptions import BODY, PATH, hook_of
from tests.lib.hostile import HOSTILE_BODIES, HOSTILE_CONTENT_TYPES

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("given", [{}, {"subscribed_objects": None}])
def test_subscribed_objects_are_empty_by_default(alice: ApiClient, given: dict[str, None]) -> None:
    alice.post(PATH, {"subscriptions": ["kudos.posted"]} | given)

    hook = hook_of(alice.caller)
    assert hook is not None
    assert hook.subscribed_objects == []


def test_a_single_string_is_accepted_as_one_subscription(alice: ApiClient) -> None:
    response = alice.post(PATH, {"subscriptions": "kudos.posted"})

    hook = hook_of(alice.caller)
    assert response.status_code == 200
    assert hook is not None
    assert hook.subscriptions == ["kudos.posted"]


def test_unknown_fields_are_ignored(alice: ApiClient) -> None:
    assert alice.post(PATH, BODY | {"colour": "blue"}).status_code == 200


def test_repeated_entries_are_stored_once_in_their_order(alice: ApiClient) -> None:
    alice.post(PATH, {"subscriptions": ["b.c", "a", "b.c"], "subscribed_objects": ["2", "1", "2"]})

    hook = hook_of(alice.caller)
    assert hook is not None
    assert hook.subscriptions == ["b.c", "a"]
    assert hook.subscribed_objects == ["2", "1"]


@pytest.mark.parametrize(
    ("body", "details"),
    [
        ({}, "subscriptions: This field is required."),
        ({"subscriptions": None}, "subscriptions: This field may not be null."),
        ({"subscriptions": 1}, 'subscriptions: Expected a list of items but got type "int".'),
        ({"subscriptions": {"a": 1}}, 'subscriptions: Expected a list of items but got type "dict".'),
        ({"subscriptions": []}, "subscriptions: This list may not be empty."),
        ({"subscriptions": [1]}, "subscriptions.0: Not a valid string."),
        ({"subscriptions": [["a"]]}, "subscriptions.0: Not a valid string."),
        ({"subscriptions": ["a", ""]}, "subscriptions.1: This field may not be blank."),
        ({"subscriptions": ""}, "subscriptions.0: This field may not be blank."),
        (
            {"subscriptions": ["Forms.Created"]},
            "subscriptions: 'Forms.Created' is not the name of an event, like forms.response.created, forms.* or *.",
        ),
        (
            {"subscriptions": ["kudos.posted", "a.*.b"]},
            "subscriptions: 'a.*.b' is not the name of an event, like forms.response.created, forms.* or *.",
        ),
        (
            {"subscriptions": ["a" * 256]},
            "subscriptions.0: Ensure this field has no more than 255 characters.",
        ),
        ({"subscriptions": ["a"] * 101}, "subscriptions: There may be 100 of these at most."),
        (
            {"subscriptions": ["a"], "subscribed_objects": "form-1"},
            'subscribed_objects: Expected a list of items but got type "str".',
        ),
        ({"subscriptions": ["a"], "subscribed_objects": [7]}, "subscribed_objects.0: Not a valid string."),
        (
            {"subscriptions": ["a"], "subscribed_objects": ["x" * 256]},
            "subscribed_objects.0: Ensure this field has no more than 255 characters.",
        ),
        (
            {"subscriptions": ["a"], "subscribed_objects": ["x"] * 1001},
            "subscribed_objects: There may be 1000 of these at most.",
        ),
    ],
)
def test_an_invalid_value_is_refused_in_the_documented_shape(
    alice: ApiClient, body: dict[str, object], details: str
) -> None:
    response = alice.post(PATH, body)

    assert response.status_code == 400
    assert response.json() == {"details": details}
    assert hook_of(alice.caller) is None


def test_lists_of_the_maximum_length_are_accepted(alice: ApiClient) -> None:
    names = ["a" * (number + 1) for number in range(100)]
    objects = [f"form-{number}" for number in range(1000)]

    response = alice.post(PATH, {"subscriptions": names, "subscribed_objects": objects})

    hook = hook_of(alice.caller)
    assert response.status_code == 200
    assert hook is not None
    assert (hook.subscriptions, hook.subscribed_objects) == (names, objects)


@pytest.mark.parametrize("name", HOSTILE_BODIES)
def test_a_hostile_body_is_answered_in_json(alice: ApiClient, name: str) -> None:
    response = alice.post(PATH, raw=HOSTILE_BODIES[name])

    assert response.status_code < 500
    if response.status_code != 200:
        answer = orjson.loads(response.content)
        assert set(answer) == {"details"} or set(answer) == {"detail", "code"}


@pytest.mark.parametrize("raw", [b"[", b"\xff", b"null", b'{"subscriptions": 1}'])
def test_the_body_of_a_delete_is_ignored(alice: ApiClient, raw: bytes) -> None:
    alice.post(PATH, BODY)

    response = alice.delete(PATH, raw=raw)

    assert (response.status_code, response.content) == (200, b"")
    assert hook_of(alice.caller) is None


@pytest.mark.parametrize("content_type", HOSTILE_CONTENT_TYPES)
def test_a_hostile_content_type_is_answered_in_json(alice: ApiClient, content_type: str) -> None:
    response = alice.post(PATH, BODY, headers={"Content-Type": content_type})

    assert response.status_code < 500
    assert isinstance(orjson.loads(response.content), dict)


def test_an_overlong_list_is_refused_before_its_entries_are_validated(alice: ApiClient) -> None:
    body = b'{"subscriptions": [' + b",".join([b'"a"'] * 250_000) + b"]}"

    response = alice.post(PATH, raw=body)

    assert response.json() == {"details": "subscriptions: There may be 100 of these at most."}
