"""Fields that take JSON for what it says: no text read as a number, no number kept as text."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import orjson
from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from rest_framework import serializers

from commands_platform.lib import routes, strict_json
from commands_platform.lib.errors import InvalidInputError
from commands_platform.lib.instants import format_instant
from commands_platform.lib.text import has_control_characters, normalise

if TYPE_CHECKING:
    from django.db.models.lookups import Lookup, Transform

    _TextField = models.TextField[Any, Any]
else:
    _TextField = models.TextField

# RFC 3339, with optional seconds; the offset is what makes a wall time an instant.
_INSTANT = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?([Zz]|[+-]\d{2}:?\d{2})",
    re.ASCII,
)
_LOOKUPS = frozenset({"exact", "in", "isnull"})


class JsonTextField(_TextField):
    """A column for any JSON value, null included, as compact text: key order and numbers come back as they were parsed.

    With `null=True`, None is SQL's NULL instead of JSON's. Filters compare the text, so only `exact`, `in` and `isnull`
    exist; `Cast(…, TextField())` reads the text unparsed.
    """

    _pyi_private_set_type: Any
    _pyi_private_get_type: Any
    _pyi_lookup_exact_type: Any

    description = "JSON value, as text"
    # {} and [] are values, not missing ones.
    empty_values = [None]

    def from_db_value(self, value: str | None, *_context: object) -> Any:
        return None if value is None else orjson.loads(value)

    def get_prep_value(self, value: Any) -> str | None:
        return None if value is None and self.null else strict_json.dumps(value).decode()

    def to_python(self, value: Any) -> Any:
        return value

    def value_to_string(self, obj: models.Model) -> Any:
        return self.value_from_object(obj)

    def validate(self, value: Any, model_instance: models.Model | None) -> None:
        try:
            strict_json.dumps(value)
        except TypeError as error:
            raise ValidationError("Enter a valid JSON value.", code="invalid") from error

    def get_lookup(self, lookup_name: str) -> type[Lookup[Any]] | None:
        return super().get_lookup(lookup_name) if lookup_name in _LOOKUPS else None

    def get_transform(self, lookup_name: str) -> type[Transform] | None:
        return None

    def formfield(self, **kwargs: Any) -> forms.Field | None:
        return super().formfield(**{"form_class": JsonTextFormField, **kwargs})


class JsonTextFormField(forms.JSONField):
    """JSON in a text area, indented for people, held to the rules that the API holds its bodies to."""

    empty_values = [None, ""]

    def to_python(self, value: Any) -> Any:
        if self.disabled or not isinstance(value, str):
            return value
        if not value.strip():
            return None
        try:
            return strict_json.loads(value.encode(), max_bytes=settings.MAX_BODY_BYTES)
        except (strict_json.MalformedJsonError, strict_json.PayloadTooLargeError, UnicodeEncodeError) as error:
            raise ValidationError(f"Enter valid JSON. {error}", code="invalid") from error

    def bound_data(self, data: Any, initial: Any) -> Any:
        return initial if self.disabled else _Typed(data or "")

    def prepare_value(self, value: Any) -> str:
        return value if isinstance(value, _Typed) else json.dumps(value, ensure_ascii=False, indent=2)

    def has_changed(self, initial: Any, data: Any) -> bool:
        if self.disabled:
            return False
        try:
            return strict_json.dumps(initial) != strict_json.dumps(self.to_python(data))
        except (ValidationError, TypeError):
            return True


class _Typed(str):
    """Text as somebody typed it into the form; it goes back as it was."""

    __slots__ = ()


class StrictCharField(serializers.CharField):
    """A JSON string, normalised to NFC; without control and format characters unless `any_characters` allows them."""

    default_error_messages = {
        "control_characters": "Control and format characters are not allowed.",
    }

    def __init__(self, *, any_characters: bool = False, **kwargs: Any) -> None:
        self.any_characters = any_characters
        super().__init__(**kwargs)

    def run_validation(self, data: Any = serializers.empty) -> Any:
        # The parent turns whatever it gets into text, to see whether it is blank.
        if data is not serializers.empty and data is not None and not isinstance(data, str):
            self.fail("invalid")
        return super().run_validation(data)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        text = data.strip() if self.trim_whitespace else data
        # Four characters become one at the most, so longer text cannot fit and need not be normalised first.
        if self.max_length is not None and len(text) > 4 * self.max_length:
            self.fail("max_length", max_length=self.max_length)
        try:
            text = normalise(text)
        except InvalidInputError as error:
            raise serializers.ValidationError(error.message, code="invalid") from error
        if not self.any_characters and has_control_characters(text):
            self.fail("control_characters")
        return text


class StrictIntegerField(serializers.IntegerField):
    """A JSON integer: no text, no boolean, and no 5.0."""

    def to_internal_value(self, data: Any) -> int:
        if type(data) is not int:
            self.fail("invalid")
        return data


class StrictBooleanField(serializers.BooleanField):
    """JSON's true or false, and nothing that resembles them."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid")
        return data


class JsonObjectField(serializers.DictField):
    """A JSON object with anything in it."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if not isinstance(data, dict):
            self.fail("not_a_dict", input_type=type(data).__name__)
        return data

    def to_representation(self, value: Any) -> Any:
        return value


class BoundedListField(serializers.ListField):
    """A JSON array, refused for its length before its elements are looked at: each wrong one costs an exception."""

    def __init__(self, *, max_length: int, **kwargs: Any) -> None:
        super().__init__(max_length=max_length, **kwargs)

    def to_internal_value(self, data: Any) -> list[Any]:
        if not isinstance(data, list):
            self.fail("not_a_list", input_type=type(data).__name__)
        if self.max_length is not None and len(data) > self.max_length:
            self.fail("max_length", max_length=self.max_length)
        return super().to_internal_value(data)


class AnyJsonField(serializers.JSONField):
    """Any JSON value; null is a value as good as others."""

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
    """ISO 8601 with an offset or `Z`; its value is in UTC, and it is written as `format_instant` writes it."""

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
