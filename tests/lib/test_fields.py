"""The fields of serializers are strict about types and limit sizes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
from django.http import QueryDict
from rest_framework import serializers

from commands_platform.lib.http import fields
from commands_platform.lib.json.strict_json import loads
from tests.lib.hostile import MEBIBYTE, ODD_BODIES


class Everything(serializers.Serializer[Any]):
    text = fields.StrictCharField(max_length=10, required=False)
    loose = fields.StrictCharField(allowed_controls=fields.LINES, trim_whitespace=False, required=False)
    number = fields.StrictIntegerField(min_value=1, max_value=100, required=False, allow_null=True)
    flag = fields.StrictBooleanField(required=False)
    mapping = fields.JsonObjectField(required=False)
    anything = fields.AnyJsonField(required=False)
    names = fields.BoundedListField(max_length=3, child=fields.StrictCharField(), required=False)
    uuid = fields.UUIDField(required=False)
    at = fields.InstantField(required=False)


def taken(name: str, value: Any) -> Any:
    serializer = Everything(data={name: value})
    assert serializer.is_valid(), serializer.errors
    return serializer.validated_data[name]


def refused(name: str, value: Any) -> str:
    serializer = Everything(data={name: value})
    assert not serializer.is_valid()
    (message,) = serializer.errors[name]
    return str(message)


UUID_TEXT = "0190c0de-0000-4000-8000-00000000000a"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("text", "abc", "abc"),
        ("text", " a b ", "a b"),
        ("text", "cafe\u0301", "caf\u00e9"),
        ("text", "e\u0301" * 10, "\u00e9" * 10),
        ("text", "5", "5"),
        ("text", "a\u200db\n", "a\u200db"),
        ("loose", " a\n\tb ", " a\n\tb "),
        ("number", 1, 1),
        ("number", 100, 100),
        ("number", None, None),
        ("flag", True, True),
        ("flag", False, False),
        ("mapping", {}, {}),
        ("mapping", {"a": None, "b": [1]}, {"a": None, "b": [1]}),
        ("anything", None, None),
        ("anything", {"a": [None]}, {"a": [None]}),
        ("anything", "", ""),
        ("anything", 0, 0),
        ("names", [], []),
        ("names", ["a", "cafe\u0301", "c"], ["a", "caf\u00e9", "c"]),
        ("uuid", UUID_TEXT, UUID(UUID_TEXT)),
        ("uuid", UUID_TEXT.upper(), UUID(UUID_TEXT)),
        ("at", "2026-02-25T12:00:00Z", datetime(2026, 2, 25, 12, tzinfo=UTC)),
        ("at", "2026-02-25t12:00:00z", datetime(2026, 2, 25, 12, tzinfo=UTC)),
        ("at", "2026-02-25 12:00+02:00", datetime(2026, 2, 25, 10, tzinfo=UTC)),
        ("at", "2026-02-25T12:00:00.25-0330", datetime(2026, 2, 25, 15, 30, 0, 250_000, tzinfo=UTC)),
        ("at", "2026-02-25T12:00:00.123456789Z", datetime(2026, 2, 25, 12, 0, 0, 123_456, tzinfo=UTC)),
    ],
)
def test_a_field_accepts_values_of_its_json_type(name: str, value: Any, expected: Any) -> None:
    found = taken(name, value)

    assert found == expected
    assert type(found) is type(expected)


NULL = "This field may not be null."
NO_TEXT = "Not a valid string."
NO_INTEGER = "A valid integer is required."
NO_BOOLEAN = "Must be a valid boolean."
NO_UUID = "Must be a valid UUID."
NO_INSTANT = "Enter a valid date and time with its offset, such as 2026-02-25T12:00:00Z."


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("text", None, NULL),
        ("text", 5, NO_TEXT),
        ("text", 5.5, NO_TEXT),
        ("text", True, NO_TEXT),
        ("text", [], NO_TEXT),
        ("text", {}, NO_TEXT),
        ("text", "", "This field may not be blank."),
        ("text", "  ", "This field may not be blank."),
        ("text", "a" * 11, "Ensure this field has no more than 10 characters."),
        ("text", "a\u0301" * 500_000, "Ensure this field has no more than 10 characters."),
        ("text", "a\nb", "Character 2 is U+000A LINE FEED, which is not allowed. Remove it."),
        ("text", "  a\tb", "Character 4 is U+0009 CHARACTER TABULATION, which is not allowed. Remove it."),
        ("text", "\u202eabc", "Character 1 is U+202E RIGHT-TO-LEFT OVERRIDE, which is not allowed. Remove it."),
        ("loose", "\0", "Character 1 is U+0000 NULL, which is not allowed. Remove it."),
        (
            "loose",
            "a" + "\u0301\u0323" * 100_000,
            "Text must not have more than 30 combining marks in a row. Remove some of them.",
        ),
        ("number", "5", NO_INTEGER),
        ("number", 5.0, NO_INTEGER),
        ("number", True, NO_INTEGER),
        ("number", [5], NO_INTEGER),
        ("number", 0, "Ensure this value is greater than or equal to 1."),
        ("number", 2**64 - 1, "Ensure this value is less than or equal to 100."),
        ("flag", None, NULL),
        ("flag", "true", NO_BOOLEAN),
        ("flag", 1, NO_BOOLEAN),
        ("flag", {}, NO_BOOLEAN),
        ("mapping", None, NULL),
        ("mapping", [], 'Expected a dictionary of items but got type "list".'),
        ("mapping", "{}", 'Expected a dictionary of items but got type "str".'),
        ("names", None, NULL),
        ("names", "abc", 'Expected a list of items but got type "str".'),
        ("names", {}, 'Expected a list of items but got type "dict".'),
        ("names", ["a"] * 4, "There may be 3 of these at most."),
        ("names", [None] * 500_000, "There may be 3 of these at most."),
        ("uuid", None, NULL),
        ("uuid", 5, NO_UUID),
        ("uuid", {}, NO_UUID),
        ("uuid", UUID_TEXT.replace("-", ""), NO_UUID),
        ("uuid", "{" + UUID_TEXT + "}", NO_UUID),
        ("uuid", "urn:uuid:" + UUID_TEXT, NO_UUID),
        ("uuid", UUID_TEXT + "\n", NO_UUID),
        ("at", None, NULL),
        ("at", 5, NO_INSTANT),
        ("at", "", NO_INSTANT),
        ("at", "2026-02-25", NO_INSTANT),
        ("at", "2026-02-25T12:00:00", NO_INSTANT),
        ("at", "2026-02-30T12:00:00Z", NO_INSTANT),
        ("at", "2026-02-25T12:00:60Z", NO_INSTANT),
        ("at", "2026-W09-3T12:00:00Z", NO_INSTANT),
        ("at", "20260225T120000Z", NO_INSTANT),
        ("at", "2026-02-25T12:00:00+25:00", NO_INSTANT),
        ("at", "0001-01-01T00:00:00+14:00", NO_INSTANT),
        ("at", "9999-12-31T23:59:59-14:00", NO_INSTANT),
        ("at", "２026-02-25T12:00:00Z", NO_INSTANT),
        ("at", "2026-02-25T12:00:00Z\n", NO_INSTANT),
    ],
)
def test_a_field_refuses_values_of_other_types_or_sizes(name: str, value: Any, message: str) -> None:
    assert refused(name, value) == message


def test_a_missing_field_is_named() -> None:
    class Input(serializers.Serializer[Any]):
        anything = fields.AnyJsonField()

    serializer = Input(data={})

    assert not serializer.is_valid()
    assert serializer.errors == {"anything": ["This field is required."]}


def test_values_are_rendered_as_the_api_documents_them() -> None:
    written = Everything(
        {
            "text": "a",
            "number": 5,
            "flag": True,
            "mapping": {"a": None},
            "anything": None,
            "uuid": UUID(UUID_TEXT),
            "at": datetime(2026, 2, 25, 12, tzinfo=timezone(timedelta(hours=2))),
        }
    ).data

    assert written == {
        "text": "a",
        "number": 5,
        "flag": True,
        "mapping": {"a": None},
        "anything": None,
        "uuid": UUID_TEXT,
        "at": "2026-02-25T10:00:00Z",
    }


@pytest.mark.parametrize("body", ODD_BODIES)
def test_an_odd_body_never_breaks_a_serializer(body: str) -> None:
    value = loads(ODD_BODIES[body], max_bytes=MEBIBYTE)

    # All fields are optional, and unknown ones are ignored.
    assert Everything(data=value).is_valid() is isinstance(value, dict)


def test_form_data_is_validated_as_strictly_as_json() -> None:
    serializer = Everything(data=QueryDict("number=5"))

    assert not serializer.is_valid()


class Thing(fields.NullIsAbsentSerializer[Any]):
    never_null = frozenset({"label_text"})

    name = fields.StrictCharField()
    label_text = fields.StrictCharField(required=False)
    size = fields.StrictIntegerField(default=3)
    flag = fields.StrictBooleanField(required=False)
    limit = fields.StrictIntegerField(required=False, allow_null=True)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"name": "a", "size": None, "flag": None, "other": None}, {"name": "a", "size": 3}),
        ({"name": "a", "limit": None}, {"name": "a", "size": 3, "limit": None}),
        ({"name": "a", "flag": False, "size": 0}, {"name": "a", "size": 0, "flag": False}),
    ],
)
def test_null_counts_as_absent_for_a_field_that_allows_no_null(given: dict[str, Any], expected: dict[str, Any]) -> None:
    serializer = Thing(data=given)

    assert serializer.is_valid(), serializer.errors
    assert serializer.validated_data == expected


@pytest.mark.parametrize(
    ("given", "field"),
    [({"name": None}, "name"), ({"name": "a", "label_text": None}, "label_text"), ([], "non_field_errors")],
)
def test_null_is_refused_for_a_field_that_needs_a_value(given: Any, field: str) -> None:
    serializer = Thing(data=given)

    assert not serializer.is_valid()
    assert list(serializer.errors) == [field]
