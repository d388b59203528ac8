"""Unknown fields are named in the answer, or refused if the caller asks for that."""

from __future__ import annotations

from typing import Any

import pytest
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from commands_platform.lib.http import unknown_fields
from commands_platform.lib.http.fields import InstantField, StrictChoiceField, StrictIntegerField
from commands_platform.lib.http.filters import QueryInstantField
from commands_platform.lib.http.inputs import read_body, read_query
from commands_platform.lib.http.parsers import StrictJSONParser


class Part(serializers.Serializer[Any]):
    days = StrictIntegerField(required=False)


class Whole(serializers.Serializer[Any]):
    colour = StrictChoiceField(choices=["red", "green"], required=False)
    begins_at = InstantField(required=False)
    part = Part(required=False)
    parts = Part(many=True, required=False)


def make_request(body: Any, prefer: str | None = None) -> Request:
    headers = {"HTTP_PREFER": prefer} if prefer else {}
    request = APIRequestFactory().post("/", body, format="json", **headers)
    return Request(request, parsers=[StrictJSONParser()])


def ignored(body: Any) -> list[str]:
    request = make_request(body)
    read_body(Whole, request)
    return list(getattr(request, "_ignored_fields", {}))


def refused(body: Any, prefer: str = "handling=strict") -> Any:
    with pytest.raises(serializers.ValidationError) as caught:
        read_body(Whole, make_request(body, prefer))
    return caught.value.detail


def test_unknown_fields_are_noted_at_every_level() -> None:
    body = {"colour": "red", "color": 1, "part": {"days": 1, "weeks": 2}, "parts": [{"days": 1}, {"hours": 3}]}

    assert ignored(body) == ["color", "part.weeks", "parts.1.hours"]


def test_known_fields_are_not_noted() -> None:
    assert ignored({"colour": "red", "parts": []}) == []


@pytest.mark.parametrize(
    "prefer",
    [
        "handling=strict",
        "Handling = Strict",
        'handling="strict"',
        "respond-async, handling=strict; foo=1",
    ],
)
def test_a_strict_caller_gets_an_error_that_suggests_the_right_field(prefer: str) -> None:
    assert refused({"Color": "red", "zzz": 1}, prefer) == {
        "Color": ["Unknown field. Did you mean `colour`?"],
        "zzz": ["Unknown field."],
    }


@pytest.mark.parametrize("prefer", ["handling=lenient", "strict", "return=minimal", "handling=strictly"])
def test_another_preference_ignores_unknown_fields(prefer: str) -> None:
    assert read_body(Whole, make_request({"color": "red"}, prefer)) == {}


def test_a_strict_caller_gets_all_errors_at_once() -> None:
    assert set(refused({"color": "red", "colour": "blue"})) == {"color", "colour"}


def test_the_message_about_a_choice_lists_the_choices() -> None:
    for value in ("blue", True, 5, ["red"]):
        assert refused({"colour": value}, "") == {"colour": ["Must be one of red, green."]}


def test_the_number_of_named_unknown_fields_is_limited() -> None:
    body = {f"{'x' * 60}{number}": 1 for number in range(10_000)}

    assert len(refused(body)) == unknown_fields.MAX_NAMED_FIELDS
    assert len(ignored(body)) == unknown_fields.MAX_NAMED_FIELDS + 1


@pytest.mark.parametrize("text", ["2026-02-25T14:00:00 02:00", "2026-02-25 14:00 0200", "2026-02-25T14:00:00+02:00"])
def test_in_a_query_a_blank_is_read_as_the_plus_of_an_offset(text: str) -> None:
    class Query(serializers.Serializer[Any]):
        begins_at = QueryInstantField(required=False)

    request = Request(APIRequestFactory().get("/", {"begins_at": text}))

    assert read_query(Query, request)["begins_at"].isoformat() == "2026-02-25T12:00:00+00:00"


def test_in_a_body_a_blank_is_not_read_as_a_plus() -> None:
    assert "begins_at" in refused({"begins_at": "2026-02-25T14:00:00 02:00"}, "")
