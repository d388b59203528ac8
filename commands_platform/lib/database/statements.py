"""Runs statements where speed matters. Rows are read in PostgreSQL's binary format, which is faster than text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any, NamedTuple, TypeVar, cast

from django.db import connection
from django.db.backends.utils import CursorWrapper
from psycopg.pq import Format

_Row = TypeVar("_Row", bound=NamedTuple)

# Functions that make the rows of each statement, so that its columns are checked only at its first run.
_makers: dict[tuple[type[Any], str], Callable[[tuple[Any, ...]], Any]] = {}


class UnexpectedColumnsError(TypeError):
    """The columns of a statement are not the fields of its row type."""


def rows_as(row_type: type[_Row], statement: str, parameters: Mapping[str, Any]) -> list[_Row]:
    """Runs a statement and returns its rows as named tuples. Each column becomes the field of the same name.

    The columns may have any order. Raises UnexpectedColumnsError at the first run if their names are not those of the
    fields. The statement should be a constant, because the check of each statement is cached.
    """
    with connection.cursor() as cursor:
        cursor.cursor.format = Format.BINARY
        cursor.execute(statement, parameters)
        make = _makers.get((row_type, statement)) or _learn(row_type, statement, cursor)
        return list(map(make, cursor.fetchall()))


def rows_of(statement: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Runs a statement and returns its rows. `%(name)b` sends a parameter in binary format, an array too."""
    with connection.cursor() as cursor:
        cursor.cursor.format = Format.BINARY
        cursor.execute(statement, parameters)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows


def execute(statement: str, parameters: Mapping[str, Any]) -> None:
    """Runs a statement that returns nothing."""
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)


def _learn(row_type: type[_Row], statement: str, cursor: CursorWrapper) -> Callable[[tuple[Any, ...]], _Row]:
    columns = [column.name for column in cursor.description]
    fields = row_type._fields
    if sorted(columns) != sorted(fields):
        unknown, missing = sorted(set(columns) - set(fields)), sorted(set(fields) - set(columns))
        raise UnexpectedColumnsError(
            f"The statement's columns do not fit {row_type.__name__}: unknown or repeated {unknown}, missing {missing}."
        )
    make = cast("Callable[[tuple[Any, ...]], _Row]", row_type._make)
    if columns != list(fields):
        in_order = itemgetter(*map(columns.index, fields))
        make = lambda row: row_type._make(in_order(row))  # noqa: E731
    _makers[row_type, statement] = make
    return make
