"""Filters of lists. The serializer of a query declares them as fields. They read, describe and apply themselves.

A filter that is missing or empty has no effect.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from django.db.models import QuerySet
from rest_framework import serializers

from commands_platform.lib.http.fields import InstantField, StrictCharField, StrictChoiceField, UUIDField
from commands_platform.lib.http.inputs import QueryValues, instance_of

# A filter is one of REST framework's fields too.
if TYPE_CHECKING:
    _Field = serializers.Field[Any, Any, Any, Any]
else:
    _Field = object

# Each value costs a look-up in an index.
MAX_FILTER_VALUES = 50

_COMMA = re.compile(r"(?<!\\),")
# An unencoded `+` in a query string arrives as a blank.
_BLANK_OFFSET = re.compile(r" (\d{2}:?\d{2})\Z", re.ASCII)

_Rows = TypeVar("_Rows", bound=QuerySet[Any])


class Filter(_Field):
    """A parameter that narrows a list.

    `lookup` is Django's name for the condition, and by default the parameter's own name. `also` has values of columns
    that the rows must have too.
    """

    field_name: str | None

    def __init__(self, lookup: str = "", *, also: Mapping[str, object] | None = None, **kwargs: Any) -> None:
        self.lookup = lookup
        self.also = dict(also or {})
        super().__init__(required=False, **kwargs)

    def get_value(self, dictionary: Mapping[str, Any]) -> Any:
        # REST framework treats a boolean that is missing from a query string as false.
        return dictionary.get(self.field_name or "") or serializers.empty

    def narrow(self, rows: _Rows, value: Any) -> _Rows:
        """Returns the rows that match."""
        return rows.filter(**{self.condition(): value}, **self.also)

    def condition(self) -> str:
        """Returns Django's name for the condition."""
        return self.lookup or str(self.field_name)

    def fixed_columns(self) -> set[str]:
        """Returns the columns that have the same value in all rows that match."""
        return set(self.also)


class AnyOfFilter(Filter, serializers.ListField):
    """Rows with any of the values, which are separated by commas or each in its own parameter.

    A comma inside a value is written as `\\,`. `operator` is Django's name for the comparison with a list.
    """

    default_error_messages = {"max_values": "There may be {max} values at most."}

    def __init__(self, lookup: str = "", *, operator: str = "in", **kwargs: Any) -> None:
        self.operator = operator
        described = kwargs.pop("help_text", "")
        super().__init__(lookup, help_text=f"{described} Any of these, separated by commas.".lstrip(), **kwargs)

    def get_value(self, dictionary: Any) -> Any:
        parts = (part for text in dictionary.getlist(self.field_name) for part in _COMMA.split(text))
        return [part.replace("\\,", ",") for part in dict.fromkeys(parts) if part] or serializers.empty

    def to_internal_value(self, data: Any) -> list[Any]:
        if len(data) > MAX_FILTER_VALUES:
            self.fail("max_values", max=MAX_FILTER_VALUES)
        # The parent would name each value by its position.
        return [self.child.run_validation(text) for text in data]

    def condition(self) -> str:
        return f"{super().condition()}__{self.operator}"


class WordFilter(AnyOfFilter):
    """Rows with any of these texts."""

    def __init__(self, lookup: str = "", *, max_length: int = 255, **kwargs: Any) -> None:
        kwargs.setdefault("child", StrictCharField(max_length=max_length))
        super().__init__(lookup, **kwargs)


class ChoiceFilter(AnyOfFilter):
    """Rows with any of these choices."""

    def __init__(self, lookup: str = "", *, choices: Any = (), **kwargs: Any) -> None:
        kwargs.setdefault("child", StrictChoiceField(choices=choices))
        super().__init__(lookup, **kwargs)


class UUIDFilter(AnyOfFilter):
    """Rows with any of these UUIDs."""

    def __init__(self, lookup: str = "", **kwargs: Any) -> None:
        kwargs.setdefault("child", UUIDField())
        super().__init__(lookup, **kwargs)


class BooleanFilter(Filter, serializers.BooleanField):
    """Rows for which something is true, or for which it is false."""

    default_error_messages = {"invalid": "Must be true or false."}

    def to_internal_value(self, data: Any) -> bool:
        # Some clients write Python's True.
        if data.lower() not in ("true", "false"):
            self.fail("invalid")
        return bool(data.lower() == "true")

    def fixed_columns(self) -> set[str]:
        return super().fixed_columns() | {self.condition()}


class QueryInstantField(InstantField):
    """An instant in a query string. A blank before the offset is read as `+`."""

    def get_value(self, dictionary: Mapping[str, Any]) -> Any:
        text = dictionary.get(self.field_name or "")
        return _BLANK_OFFSET.sub(r"+\1", text) if text else serializers.empty


class InstantFilter(Filter, QueryInstantField):
    """Rows from an instant on, or before it, as the lookup says."""

    def get_value(self, dictionary: Mapping[str, Any]) -> Any:
        return QueryInstantField.get_value(self, dictionary)


class SearchFilter(Filter, StrictCharField):
    """Rows in which a text contains the given one, whatever the case of the letters."""

    def __init__(self, lookup: str = "", *, max_length: int = 255, **kwargs: Any) -> None:
        super().__init__(lookup, max_length=max_length, **kwargs)

    def condition(self) -> str:
        return f"{super().condition()}__icontains"


def fixed_columns(query: QueryValues) -> set[str]:
    """Returns the columns that have the same value in all rows that match a query."""
    fields = instance_of(query.serializer).fields
    given = (field for name, field in fields.items() if name in query and isinstance(field, Filter))
    return {column for field in given for column in field.fixed_columns()}


def narrow(rows: _Rows, query: QueryValues) -> _Rows:
    """Returns the rows that match all filters of a query."""
    fields = instance_of(query.serializer).fields
    for name, value in query.items():
        field = fields.get(name)
        if isinstance(field, Filter):
            rows = field.narrow(rows, value)
    return rows
