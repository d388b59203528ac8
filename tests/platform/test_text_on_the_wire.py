"""Every text field accepts ordinary text and refuses misleading characters, with the same message."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.api import ApiClient

pytestmark = pytest.mark.django_db

WOMAN_AT_A_COMPUTER = "\U0001f469\u200d\U0001f4bb"
FLAG_OF_WALES = "\U0001f3f4\U000e0067\U000e0062\U000e0077\U000e006c\U000e0073\U000e007f"
ORDINARY = [
    WOMAN_AT_A_COMPUTER,
    FLAG_OF_WALES,
    "\u0646\u0645\u06cc\u200c\u062f\u0627\u0646\u0645",
    "\u05d0\u05d1\u200f!",
    "\u2764\ufe0f",
]

FIELDS: dict[str, tuple[str, Callable[[str], dict[str, Any]]]] = {
    "schedule name": ("/v1/platform/scheduling/", lambda text: {"name": text, "is_active": False}),
    "schedule description": (
        "/v1/platform/scheduling/",
        lambda text: {"name": "a", "description": text, "is_active": False},
    ),
    "storage key": ("/v1/platform/storage/", lambda text: {"op": "set", "params": {"key": text, "value": 1}}),
    "storage keys": ("/v1/platform/storage/", lambda text: {"op": "get_many", "params": {"keys": [text]}}),
    "storage items": ("/v1/platform/storage/", lambda text: {"op": "set_many", "params": {"items": {text: 1}}}),
    "storage prefix": ("/v1/platform/storage/", lambda text: {"op": "list", "params": {"prefix": text}}),
    "storage namespace": (
        "/v1/platform/storage/",
        lambda text: {"op": "get", "params": {"key": "a"}, "namespace": text},
    ),
    "subscribed object": (
        "/v1/platform/event-subscription/",
        lambda text: {"subscriptions": ["a.b"], "subscribed_objects": [text]},
    ),
    "event object": ("/v1/platform/events/", lambda text: {"event": "a.b", "object": text}),
    "activity category": ("/v1/platform/activity/", lambda text: {"category": text, "action": "a"}),
    "activity action": ("/v1/platform/activity/", lambda text: {"category": "a", "action": text}),
    "activity label": ("/v1/platform/activity/", lambda text: {"category": "a", "action": "a", "label": text}),
}


def send(client: ApiClient, field: str, text: str) -> Any:
    path, body = FIELDS[field]
    return client.post(path, body(text))


@pytest.mark.parametrize("text", ORDINARY)
@pytest.mark.parametrize("field", FIELDS)
def test_text_of_any_language_is_accepted(alice: ApiClient, field: str, text: str) -> None:
    assert send(alice, field, text).status_code < 300


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ab\u202ec", "Character 3 is U+202E RIGHT-TO-LEFT OVERRIDE, which is not allowed."),
        ("\u2066a", "Character 1 is U+2066 LEFT-TO-RIGHT ISOLATE, which is not allowed."),
        ("a\x1bb", "Character 2 is U+001B ESCAPE, which is not allowed."),
    ],
)
@pytest.mark.parametrize("field", FIELDS)
def test_a_misleading_character_is_named_with_its_position(alice: ApiClient, field: str, text: str, words: str) -> None:
    response = send(alice, field, text)

    assert response.status_code == 400
    assert words in (response.json().get("detail") or response.json()["details"])


@pytest.mark.parametrize("field", ["schedule description", "activity label"])
def test_long_texts_accept_line_breaks_and_tabs(alice: ApiClient, field: str) -> None:
    assert send(alice, field, "one\r\n\ttwo\nthree").status_code < 300


def test_cron_expressions_may_contain_tabs(alice: ApiClient) -> None:
    response = alice.post("/v1/platform/scheduling/", {"name": "a", "cron": "0\t9 * * x"})

    assert "U+0009" not in response.content.decode()
