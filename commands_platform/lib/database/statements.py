"""Statements of the hot path, whose rows come in PostgreSQL's binary formats: nothing is written out and read again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import connection
from psycopg.pq import Format


def rows_of(statement: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """The rows that a statement returns. `%(name)b` sends a parameter in its binary format, an array's too."""
    with connection.cursor() as cursor:
        cursor.cursor.format = Format.BINARY
        cursor.execute(statement, parameters)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows


def execute(statement: str, parameters: Mapping[str, Any]) -> None:
    """Runs a statement that returns nothing."""
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
