"""Rows of several models from one statement, for look-ups on every request, where the ORM's own cost counts."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from django.db import DEFAULT_DB_ALIAS
from django.db.models import Model

from commands_platform.lib.database.statements import rows_of


class JoinedQuery:
    """A statement whose select list is the columns of these models, by their aliases; `{columns}` stands for it.

    Fields of the names in `without` are left out; each is fetched when somebody asks a row for it.
    """

    def __init__(self, statement: str, *, without: Collection[str] = (), **models: type[Model]) -> None:
        self._statement = statement
        self._without = without
        self._models = models
        self._ready: tuple[str, list[tuple[type[Model], list[str], slice]]] | None = None

    def first(self, parameters: Mapping[str, Any]) -> list[Any] | None:
        """An instance of each model, None for one that an outer join did not find; None where there is no row."""
        statement, parts = self._ready or self._prepare()
        rows = rows_of(statement, parameters)
        if not rows:
            return None
        return [
            None if rows[0][part.start] is None else model.from_db(DEFAULT_DB_ALIAS, names, rows[0][part])
            for model, names, part in parts
        ]

    def _prepare(self) -> tuple[str, list[tuple[type[Model], list[str], slice]]]:
        # Not before the first use: models are not whole while modules are being imported.
        columns: list[str] = []
        parts: list[tuple[type[Model], list[str], slice]] = []
        for alias, model in self._models.items():
            fields = [field for field in model._meta.concrete_fields if field.attname not in self._without]
            # The primary key comes first in Django's own order; `first` asks by it whether there is a row.
            parts.append((model, [field.attname for field in fields], slice(len(columns), len(columns) + len(fields))))
            columns += [f'{alias}."{field.column}"' for field in fields]
        self._ready = (self._statement.format(columns=", ".join(columns)), parts)
        return self._ready
