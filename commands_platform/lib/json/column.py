"""A model field for exact JSON, and its form field."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import orjson
from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models

from commands_platform.lib.json import strict_json

if TYPE_CHECKING:
    from django.db.models.lookups import Lookup, Transform

    _TextField = models.TextField[Any, Any]
else:
    _TextField = models.TextField

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
    """JSON in a text area, indented for people. It follows the same rules as the bodies of the API."""

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
    """Text that somebody typed into the form. It is shown again unchanged."""

    __slots__ = ()
