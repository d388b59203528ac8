"""Orders lists, and continues them from a cursor.

A cursor holds the values of a row that the list is sorted by, and the row need no longer exist. So no row is skipped or
repeated while others are inserted and deleted. A row whose values change moves, and may appear twice or not at all.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, TypeVar, cast

import orjson
from django.core.exceptions import ValidationError
from django.db.models import F, Field, Func, Model, OrderBy, Q, QuerySet, TextField, Value
from django.db.models.lookups import GreaterThan, LessThan
from rest_framework import serializers

from commands_platform.lib.json import strict_json
from commands_platform.lib.json.strict_json import MalformedJsonError, PayloadTooLargeError

MAX_CURSOR_LENGTH = 4096

_Row = TypeVar("_Row", bound=Model)


class Column(NamedTuple):
    """A column of a model that a list is sorted by. Rows without a value come last in both directions."""

    name: str
    is_descending: bool = False

    def __str__(self) -> str:
        return f"-{self.name}" if self.is_descending else self.name

    def reversed(self) -> Column:
        return Column(self.name, not self.is_descending)


def column_of(text: str) -> Column:
    """Returns the column for Django's notation, in which `-` means descending."""
    return Column(text.removeprefix("-"), text.startswith("-"))


class SortField(serializers.ListField):
    """`?sort=`: names separated by commas, each with a `-` before it for the opposite order.

    The keywords are the names, and their values the columns in Django's notation. Columns before the last one of a name
    keep their direction.
    """

    default_error_messages = {"unknown": "{input} cannot be sorted by. Choose from: {known}."}

    def __init__(self, **columns: str | tuple[str, ...]) -> None:
        self.columns = columns
        names = [f"{sign}{name}" for name in columns for sign in ("", "-")]
        super().__init__(
            child=serializers.ChoiceField(choices=names),
            required=False,
            help_text="The order of the rows. `-` before a name reverses it. Separate several names by commas.",
        )

    def get_value(self, dictionary: Any) -> Any:
        return ",".join(dictionary.getlist(self.field_name)) or serializers.empty

    def to_internal_value(self, data: Any) -> tuple[Column, ...]:  # type: ignore[override]
        found: dict[str, Column] = {}
        for text in data.split(","):
            name = text.removeprefix("-")
            if name not in self.columns:
                self.fail("unknown", input=repr(text), known=", ".join(self.columns))
            stated = self.columns[name]
            *fixed, last = map(column_of, (stated,) if isinstance(stated, str) else stated)
            for column in (*fixed, last.reversed() if text.startswith("-") else last):
                found.setdefault(column.name, column)
        return tuple(found.values())


class ListCursorField(serializers.CharField):
    """`?cursor=`: a place in a list, from the `next` or `previous` of a page. An empty one is the beginning."""

    def __init__(self) -> None:
        super().__init__(
            required=False,
            allow_blank=True,
            max_length=MAX_CURSOR_LENGTH,
            help_text="Reads the list without gaps or repeats while it changes. Empty for the first page, then the one "
            "in `next`. The page has no `count`.",
        )

    def get_value(self, dictionary: Any) -> Any:
        # REST framework would treat an empty text as missing.
        return dictionary.get(self.field_name, serializers.empty)


@dataclass(frozen=True, slots=True)
class Cursor:
    """The place of a row, from which a list is read on, or back."""

    values: tuple[Any, ...]
    is_backwards: bool = False


@dataclass(frozen=True, slots=True)
class Order:
    """The order of a list. Its last column is the primary key, so no two rows have the same place."""

    model: type[Model]
    columns: tuple[Column, ...]

    @classmethod
    def of(cls, rows: QuerySet[Any], sort: Sequence[Column] = ()) -> Order:
        """Returns the order that a caller has chosen, or else that of the queryset or its model."""
        meta = rows.model._meta
        columns = tuple(sort) or tuple(column_of(str(text)) for text in rows.query.order_by or meta.ordering)
        if not any(column.name in ("pk", meta.pk.name) for column in columns):
            columns = (*columns, Column("pk", columns[-1].is_descending if columns else False))
        return cls(rows.model, columns)

    def apply(self, rows: QuerySet[_Row], *, is_backwards: bool = False) -> QuerySet[_Row]:
        """Returns the rows in this order, or in the opposite one."""
        return rows.order_by(*(self._expression(column, is_backwards) for column in self.columns))

    def rows_from(self, rows: QuerySet[_Row], cursor: Cursor) -> QuerySet[_Row]:
        """Returns the rows after the cursor in this order, or those before it in the opposite order."""
        return self.apply(rows.filter(self._beyond(cursor)), is_backwards=cursor.is_backwards)

    def cursor_text(self, row: Model, *, is_backwards: bool = False) -> str:
        """Returns the cursor for the rows after this one, or before it."""
        values = [getattr(row, self._field(column).attname) for column in self.columns]
        packed = orjson.dumps(["<" if is_backwards else ">", self._name(), values])
        return base64.urlsafe_b64encode(packed).rstrip(b"=").decode()

    def read_cursor(self, text: str) -> Cursor:
        """Returns the cursor that `cursor_text` has written. Raises REST framework's ValidationError for any other."""
        try:
            packed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
            content: Any = strict_json.loads(packed, max_bytes=MAX_CURSOR_LENGTH, max_depth=2)
            direction, name, values = content
            is_known = direction in ("<", ">") and name == self._name()
            if is_known and len(values) == len(self.columns):
                read = tuple(self._value(column, value) for column, value in zip(self.columns, values, strict=True))
                return Cursor(read, is_backwards=direction == "<")
        except (MalformedJsonError, PayloadTooLargeError, TypeError, ValueError, ValidationError):
            pass
        raise serializers.ValidationError(
            {"cursor": ["It is not a cursor of this list in this order. Take it from `next` or `previous`."]}
        )

    def _name(self) -> str:
        return ",".join(map(str, self.columns))

    def _value(self, column: Column, value: object) -> Any:
        field = self._field(column)
        if value is None and field.null:
            return None
        if value is None or isinstance(value, list | dict):
            raise ValueError(value)
        read = field.to_python(value)
        if isinstance(read, datetime) and read.tzinfo is None:
            raise ValueError(value)
        return read

    def _expression(self, column: Column, is_backwards: bool) -> str | OrderBy:
        is_descending = column.is_descending != is_backwards
        if not self._field(column).null:
            return str(column._replace(is_descending=is_descending))
        # Rows without a value are the last ones, whatever the direction, so they are the first ones backwards.
        first, last = is_backwards or None, not is_backwards or None
        return OrderBy(F(column.name), descending=is_descending, nulls_first=first, nulls_last=last)

    def _beyond(self, cursor: Cursor) -> Q | GreaterThan | LessThan:
        """Returns the condition for rows that come after the cursor's place in its direction."""
        directions = {column.is_descending for column in self.columns}
        if len(directions) == 1 and not any(self._field(column).null for column in self.columns):
            # An index can look up a comparison of rows, but not the alternatives below.
            places = _row(F(column.name) for column in self.columns)
            compare = LessThan if directions.pop() != cursor.is_backwards else GreaterThan
            return compare(places, _row(Value(value, self._field(column)) for column, value in self._at(cursor)))
        beyond, equal = Q(), Q()
        for column, value in self._at(cursor):
            beyond |= equal & self._beyond_in(column, value, cursor.is_backwards)
            equal &= Q(**{f"{column.name}__isnull": True} if value is None else {column.name: value})
        return beyond

    def _beyond_in(self, column: Column, value: object, is_backwards: bool) -> Q:
        if value is None:
            # Nothing comes after the rows without a value. Backwards, all others do.
            return Q(**{f"{column.name}__isnull": False}) if is_backwards else Q(pk__in=())
        comparison = "lt" if column.is_descending != is_backwards else "gt"
        beyond = Q(**{f"{column.name}__{comparison}": value})
        if self._field(column).null and not is_backwards:
            beyond |= Q(**{f"{column.name}__isnull": True})
        return beyond

    def _at(self, cursor: Cursor) -> Iterator[tuple[Column, Any]]:
        return zip(self.columns, cursor.values, strict=True)

    def _field(self, column: Column) -> Field[Any, Any]:
        meta = self.model._meta
        return cast("Field[Any, Any]", meta.pk if column.name == "pk" else meta.get_field(column.name))


def _row(expressions: Iterable[Any]) -> Func:
    return Func(*expressions, function="ROW", output_field=TextField())
