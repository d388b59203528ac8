"""Renders answers from the same serializers as the OpenAPI document, so that the two cannot differ."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, reduce
from operator import attrgetter
from typing import Any, ClassVar, TypeVar

from rest_framework import serializers

from commands_platform.lib.http.inputs import instance_of

_Row = TypeVar("_Row")

# The name of a field, the function that reads its value from a row, and the one that writes the value.
_Column = tuple[str, Callable[[Any], Any], Callable[[Any], object] | None]


class Output(serializers.Serializer[_Row]):
    """The body of an answer, or a part of it, with the fields that the class declares.

    The value of a field is the row's attribute with its name, or with the name of its `source`. If a dotted source
    reaches None on its way, the value is None if the field allows null. A static method `get_<field>` computes the
    value of that field instead. Fields that are not required are left out unless `expand` names them.
    """

    # Functions that read data for all rows at once, by the optional field that needs the data.
    prefetches: ClassVar[Mapping[str, Callable[[Sequence[Any]], None]]] = {}

    @classmethod
    def render(cls, row: _Row, *, expand: Iterable[str] = ()) -> dict[str, object]:
        """Returns the body for one row, with the optional fields that `expand` names."""
        return cls.render_many((row,), expand=expand)[0]

    @classmethod
    def render_many(cls, rows: Sequence[_Row], *, expand: Iterable[str] = ()) -> list[dict[str, object]]:
        """Returns the bodies for these rows. The data of expanded fields is prefetched once for all of them."""
        required, optional = _columns(cls)
        columns = required
        if expand:
            columns = [*required, *(optional[name] for name in dict.fromkeys(expand))]
            for name, prefetch in cls.prefetches.items():
                if name in expand and rows:
                    prefetch(rows)
        return [
            {name: read(row) if write is None else write(read(row)) for name, read, write in columns} for row in rows
        ]

    @classmethod
    def of(cls, **values: object) -> dict[str, object]:
        """Returns a body with these values: those of all required fields, and of any optional ones."""
        required, optional = _columns(cls)
        body = {
            name: values.pop(name) if write is None else write(values.pop(name))
            for name, _, write in (*required, *optional.values())
            if name in values
        }
        if values or any(name not in body for name, _, _ in required):
            missing = [name for name, _, _ in required if name not in body]
            raise TypeError(f"{cls.__name__} lacks {missing}, and has no {sorted(values)}.")
        return body

    @classmethod
    def expandable(cls) -> list[str]:
        """Returns the names of the optional fields."""
        return list(_columns(cls)[1])


class NullIfEmptyField(serializers.CharField):
    """Text that an answer shows as null if it is empty."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(allow_null=True, **kwargs)

    @staticmethod
    def write(value: str) -> str | None:
        """Returns the text, or None for an empty one."""
        return value or None


class ExpandField(serializers.MultipleChoiceField):
    """`?expand=`: names of an output's optional fields, separated by commas or each in its own parameter."""

    default_error_messages = {"invalid_choice": "{input} cannot be expanded. Choose from: {known}."}

    def __init__(self, output: type[Output[Any]], **kwargs: Any) -> None:
        super().__init__(
            choices=output.expandable(),
            required=False,
            default=set,
            help_text="More keys for the answer, separated by commas.",
            **kwargs,
        )

    def get_value(self, dictionary: Any) -> Any:
        return ",".join(dictionary.getlist(self.field_name)) or serializers.empty

    def to_internal_value(self, data: Any) -> tuple[str, ...]:  # type: ignore[override]
        names = tuple(dict.fromkeys(name for name in data.split(",") if name))
        for name in names:
            if name not in self.choices:
                self.fail("invalid_choice", input=repr(name), known=", ".join(self.choices))
        return names


@cache
def page_of(output: type[Output[Any]]) -> type[Output[Any]]:
    """Returns the envelope of a list whose rows are such outputs."""
    name = output.__name__.removesuffix("Output")
    return type(
        f"{name}PageOutput",
        (Output,),
        {
            "__doc__": "A page of a list. `next` and `previous` are the URLs of its neighbours, or null.",
            "count": serializers.IntegerField(
                required=False,
                allow_null=True,
                help_text="The number of rows in the whole list, or null if there are too many to count. With `cursor` "
                "there is no count.",
            ),
            "next": serializers.URLField(allow_null=True, help_text="The URL of the rows after these."),
            "previous": serializers.URLField(allow_null=True),
            "results": serializers.ListField(child=output()),
        },
    )


@cache
def _columns(output: type[Output[Any]]) -> tuple[list[_Column], dict[str, _Column]]:
    """Returns the columns of the required fields, and those of the optional ones by their names."""
    required: list[_Column] = []
    optional: dict[str, _Column] = {}
    for name, field in instance_of(output).fields.items():
        column = (name, _reader(output, name, field), _writer(field))
        if field.required:
            required.append(column)
        else:
            optional[name] = column
    return required, optional


def _reader(output: type[Output[Any]], name: str, field: serializers.Field[Any, Any, Any, Any]) -> Callable[[Any], Any]:
    computed: Callable[[Any], Any] | None = getattr(output, f"get_{name}", None)
    if computed is not None:
        return computed
    source = field.source or name
    if "." in source and field.allow_null:
        steps = source.split(".")
        return lambda row: reduce(lambda value, step: None if value is None else getattr(value, step), steps, row)
    return attrgetter(source)


def _writer(field: serializers.Field[Any, Any, Any, Any]) -> Callable[[Any], object] | None:
    """Returns a function that converts a value for JSON, or None if the renderer can do that by itself."""
    if isinstance(field, Output):
        render = type(field).render
        return lambda row: None if row is None else render(row) if not isinstance(row, dict) else row
    if isinstance(field, serializers.ListField | serializers.ListSerializer) and isinstance(field.child, Output):
        render_many = type(field.child).render_many
        return lambda rows: rows if not rows or isinstance(rows[0], dict) else render_many(rows)
    write: Callable[[Any], object] | None = getattr(field, "write", None)
    return write
