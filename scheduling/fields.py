"""Serializer fields that only schedules have."""

from __future__ import annotations

from typing import Any

import orjson
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from commands_platform.lib.http.fields import BoundedListField, StrictCharField
from commands_platform.lib.http.renderers import RawJson
from scheduling.cron_grammar import MAX_EXPRESSION_LENGTH, MAX_EXPRESSIONS, join_expressions, split_expressions
from scheduling.errors import InvalidEveryError
from scheduling.every import MAX_COUNTS, TIME_PATTERN, WEEKDAYS, read_every

MAX_EXCEPTIONS = 100

_EXPRESSION = {"type": "string", "maxLength": MAX_EXPRESSION_LENGTH}
_EXPRESSIONS = {"type": "array", "items": _EXPRESSION, "maxItems": MAX_EXPRESSIONS}
_SCHEMA = {"oneOf": [_EXPRESSION, _EXPRESSIONS]}


def _period_schema(unit: str, **day: dict[str, Any]) -> dict[str, Any]:
    properties = {
        unit: {"type": "integer", "minimum": 1, "maximum": MAX_COUNTS[unit]},
        **day,
        "at": {"type": "string", "pattern": f"^{TIME_PATTERN}$"},
    }
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


_WEEKDAYS_SCHEMA = {"type": "array", "items": {"type": "string", "enum": list(WEEKDAYS)}, "minItems": 1, "maxItems": 7}
_EVERY_SCHEMA = {
    "oneOf": [
        _period_schema("days"),
        _period_schema("weeks", on=_WEEKDAYS_SCHEMA),
        _period_schema("months", on_day={"type": "integer", "minimum": 1, "maximum": 31}),
    ]
}


@extend_schema_field(_SCHEMA)
class CronField(serializers.Field[str, Any, Any, Any]):
    """A cron expression, or an array of them. Its value is the text that a schedule stores.

    The field is optional. Null, "" and [] all mean that there is no expression. The expressions themselves are checked
    by the grammar, whose messages name the position.
    """

    default_error_messages = {
        "invalid": "Must be a string or an array of strings.",
        "max_length": "There may be {max_length} expressions at most.",
        "empty": "Expression {number} is empty.",
        "line_break": "An expression is one line. Give several expressions as an array.",
    }

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(required=False, allow_null=True, **kwargs)

    def run_validation(self, data: Any = serializers.empty) -> Any:
        return super().run_validation("" if data is None else data)

    def to_internal_value(self, data: Any) -> str:
        several = data if isinstance(data, list) else [data]
        if len(several) > MAX_EXPRESSIONS:
            self.fail("max_length", max_length=MAX_EXPRESSIONS)
        if not all(isinstance(expression, str) for expression in several):
            self.fail("invalid")
        expressions: list[str] = [expression.strip() for expression in several]
        if any("\n" in expression for expression in expressions):
            self.fail("line_break")
        if not isinstance(data, list):
            return expressions[0]
        if "" in expressions:
            self.fail("empty", number=expressions.index("") + 1)
        return join_expressions(expressions)


@extend_schema_field(_EVERY_SCHEMA)
class EveryField(serializers.Field[str, Any, Any, Any]):
    """A period on the wall clock. Its value is the text that a schedule stores, and null means that there is none."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(required=False, allow_null=True, **kwargs)

    def run_validation(self, data: Any = serializers.empty) -> Any:
        return "" if data is None else super().run_validation(data)

    def to_internal_value(self, data: Any) -> str:
        try:
            return read_every(data)
        except InvalidEveryError as error:
            raise serializers.ValidationError(error.message, code="invalid") from error


@extend_schema_field(_EVERY_SCHEMA)
class EveryOutputField(serializers.Field[str, Any, Any, Any]):
    """A schedule's period on the wall clock, or null."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(allow_null=True, **kwargs)

    @staticmethod
    def write(value: str) -> RawJson | None:
        """Returns the object that was given, or None if there is none."""
        return RawJson(value) if value else None


class ExceptField(BoundedListField):
    """Dates, spans of dates and names of calendars. Its value is the text that a schedule stores."""

    def __init__(self, **kwargs: Any) -> None:
        child = StrictCharField(max_length=64)
        super().__init__(
            child=child, max_length=MAX_EXCEPTIONS, required=False, allow_null=True, source="exceptions", **kwargs
        )

    def run_validation(self, data: Any = serializers.empty) -> Any:
        entries = super().run_validation(data)
        return orjson.dumps(list(dict.fromkeys(entries))).decode() if entries else ""


class TagsField(BoundedListField):
    """Tags, each once. Null means that there are none."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(required=False, allow_null=True, **kwargs)

    def run_validation(self, data: Any = serializers.empty) -> Any:
        return list(dict.fromkeys(super().run_validation(data) or ()))


@extend_schema_field({"type": "array", "items": {"type": "string"}})
class ExceptOutputField(serializers.Field[str, Any, Any, Any]):
    """The days on which a schedule does not run, as they were given."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(source="exceptions", **kwargs)

    @staticmethod
    def write(value: str) -> RawJson:
        return RawJson(value or "[]")


@extend_schema_field(_SCHEMA)
class CronOutputField(serializers.Field[str, Any, Any, Any]):
    """A schedule's cron expressions as they were given: a string, an array, or null."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(allow_null=True, **kwargs)

    @staticmethod
    def write(value: str) -> str | list[str] | None:
        """Returns an array if the schedule was given one, a string for one expression, and None for none."""
        return split_expressions(value) if value.endswith("\n") else value or None
