"""Rows of several models from one statement, for look-ups on every request, where the ORM's own cost counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import connection
from django.db.models import Model


class JoinedQuery:
    """A statement whose select list is the columns of these models, by their aliases; `{columns}` stands for it."""

    def __init__(self, statement: str, **models: type[Model]) -> None:
        self._statement = statement
        self._models = models
        self._ready: tuple[str, list[tuple[type[Model], list[str], slice]]] | None = None

    def first(self, parameters: Sequence[Any]) -> list[Any] | None:
        """An instance of each model, None for one that an outer join did not find; None where there is no row."""
        statement, parts = self._ready or self._prepare()
        with connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            row = cursor.fetchone()
        if row is None:
            return None
        return [
            None if row[part.start] is None else model.from_db(connection.alias, names, row[part])
            for model, names, part in parts
        ]

    def _prepare(self) -> tuple[str, list[tuple[type[Model], list[str], slice]]]:
        # Not before the first use: models are not whole while modules are being imported.
        columns: list[str] = []
        parts: list[tuple[type[Model], list[str], slice]] = []
        for alias, model in self._models.items():
            fields = model._meta.concrete_fields
            # The primary key comes first in Django's own order; `first` asks by it whether there is a row.
            parts.append((model, [field.attname for field in fields], slice(len(columns), len(columns) + len(fields))))
            columns += [f'{alias}."{field.column}"' for field in fields]
        self._ready = (self._statement.format(columns=", ".join(columns)), parts)
        return self._ready
