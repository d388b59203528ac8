"""Serializer fields that do not convert JSON types: no text is read as a number, and no number is kept as text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar
from uuid import UUID

from django.db import models
from rest_framework import serializers

from commands_platform.lib.errors import InvalidInputError
from commands_platform.lib.http import routes
from commands_platform.lib.instants import format_instant
from commands_platform.lib.text import normalize, refusal_of

if TYPE_CHECKING:
    _TextField = models.TextField[Any, Any]
else:
    _TextField = models.TextField

_T = TypeVar("_T")

# The control characters and separators of text that has several lines.
LINES = "\t\n\r\u2028\u2029"

# RFC 3339 with optional seconds. The offset is required, because without it a wall time is not an instant.
_INSTANT = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?([Zz]|[+-]\d{2}:?\d{2})",
    re.ASCII,
)


class StrictCharField(serializers.CharField):
    """A JSON string, normalized to NFC, without control characters and characters that change the text's direction.

    `allowed_controls` are control characters that it accepts. With `null_is_empty` the field is optional, and both null
    and "" mean that there is no text.
    """

    def __init__(self, *, allowed_controls: str = "", null_is_empty: bool = False, **kwargs: Any) -> None:
        self.allowed_controls = allowed_controls
        self.null_is_empty = null_is_empty
        if null_is_empty:
            kwargs |= {"required": False, "allow_blank": True, "allow_null": True}
        super().__init__(**kwargs)

    def run_validation(self, data: Any = serializers.empty) -> Any:
        if data is None and self.null_is_empty:
            data = ""
        # The parent would convert any value to text to check whether it is blank.
        if data is not serializers.empty and data is not None and not isinstance(data, str):
            self.fail("invalid")
        return super().run_validation(data)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        text = data.strip() if self.trim_whitespace else data
        # Normalizing combines up to four characters into one, so longer text cannot fit and need not be normalized.
        if self.max_length is not None and len(text) > 4 * self.max_length:
            self.fail("max_length", max_length=self.max_length)
        # Positions in messages are those in the text as it was sent.
        offset = len(data) - len(data.lstrip()) if self.trim_whitespace else 0
        refusal = refusal_of(text, allowed=self.allowed_controls, offset=offset)
        if refusal is not None:
            raise serializers.ValidationError(refusal, code="invalid")
        try:
            return normalize(text)
        except InvalidInputError as error:
            raise serializers.ValidationError(error.message, code="invalid") from error


class StrictIntegerField(serializers.IntegerField):
    """A JSON integer. Text, booleans and 5.0 are refused."""

    def to_internal_value(self, data: Any) -> int:
        if type(data) is not int:
            self.fail("invalid")
        return data


class StrictBooleanField(serializers.BooleanField):
    """JSON's true or false. Everything else is refused."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid")
        return data


class StrictChoiceField(serializers.ChoiceField):
    """One of a few JSON strings. The message for any other value lists them."""

    def to_internal_value(self, data: Any) -> Any:
        # The parent compares the value as text, so it would accept true for the choice "True".
        if isinstance(data, str) and data in self.choices:
            return data
        raise serializers.ValidationError(f"Must be one of {', '.join(map(str, self.choices))}.", code="invalid_choice")


class JsonObjectField(serializers.DictField):
    """A JSON object with any content."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if not isinstance(data, dict):
            self.fail("not_a_dict", input_type=type(data).__name__)
        return data

    def to_representation(self, value: Any) -> Any:
        return value


class BoundedListField(serializers.ListField):
    """A JSON array. Its length is checked before its elements, because each invalid element costs an exception."""

    default_error_messages = {"max_length": "There may be {max_length} of these at most."}

    def __init__(self, *, max_length: int, **kwargs: Any) -> None:
        super().__init__(max_length=max_length, **kwargs)

    def to_internal_value(self, data: Any) -> list[Any]:
        if not isinstance(data, list):
            self.fail("not_a_list", input_type=type(data).__name__)
        if self.max_length is not None and len(data) > self.max_length:
            self.fail("max_length", max_length=self.max_length)
        return super().to_internal_value(data)


class AnyJsonField(serializers.JSONField):
    """Any JSON value, including null."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("allow_null", True)
        super().__init__(**kwargs)

    def to_internal_value(self, data: Any) -> Any:
        return data

    def to_representation(self, value: Any) -> Any:
        return value


class UUIDField(serializers.UUIDField):
    """A UUID as text in its usual form, 36 characters, in either case."""

    def to_internal_value(self, data: Any) -> UUID:
        uuid = routes.parse_uuid(data) if isinstance(data, str) else None
        if uuid is None:
            self.fail("invalid")
        return uuid


class InstantField(serializers.DateTimeField):
    """ISO 8601 with an offset or `Z`. Its value is in UTC, and `format_instant` writes it."""

    default_error_messages = {
        "invalid": "Enter a valid date and time with its offset, such as 2026-02-25T12:00:00Z.",
    }

    def to_internal_value(self, value: Any) -> datetime:
        if not isinstance(value, str) or not _INSTANT.fullmatch(value):
            self.fail("invalid")
        try:
            return datetime.fromisoformat(value.upper()).astimezone(UTC)
        except (ValueError, OverflowError):
            self.fail("invalid")

    def to_representation(self, value: datetime) -> str:
        return format_instant(value)


class NullIsAbsentSerializer(serializers.Serializer[_T]):
    """Treats an optional field that is null as missing, unless null is one of the field's values.

    Some clients send every key that they know. Fields in `never_null` still refuse null.
    """

    never_null: ClassVar[frozenset[str]] = frozenset()

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping):
            data = {key: value for key, value in data.items() if value is not None or not self._may_be_absent(key)}
        return super().to_internal_value(data)

    def _may_be_absent(self, key: str) -> bool:
        field = self.fields.get(key)
        return field is not None and not field.required and not field.allow_null and key not in self.never_null
