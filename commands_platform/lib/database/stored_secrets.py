"""Encrypts stored secrets with another key. It finds their columns by the classes of the fields."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.apps import apps
from django.db import models, transaction
from django.db.models import Q, Value
from django.db.models.functions import Cast

from commands_platform.lib.database.encrypted import HasSecrets
from commands_platform.lib.encryption import SecretUnreadableError

_REENCRYPTED_AT_ONCE = 500
# The values of a column without a secret.
_NO_SECRET = ("", "{}")


@dataclass(slots=True)
class Portion:
    """The result for some rows of one table."""

    table: str
    rows: int
    changed: int = 0
    unreadable: list[str] = field(default_factory=list)


def reencrypt_all() -> Iterator[Portion]:
    """Encrypts every stored secret with the first key, in portions, each in its own transaction.

    It can be stopped and started again. A secret that changes in the meantime is skipped, because it was written with
    the first key.
    """
    for model in apps.get_models():
        names = [each.attname for each in model._meta.concrete_fields if isinstance(each, HasSecrets)]
        last: Any = None
        while names and (rows := _read(model, names, after=last)):
            yield _reencrypt(model, names, rows)
            last = rows[-1][0]


def _read(model: type[models.Model], names: Sequence[str], *, after: Any) -> Sequence[tuple[Any, ...]]:
    """Returns the primary keys and the stored texts of the next rows with secrets."""
    stored = _stored(names)
    has_secrets = Q(*(~Q(**{f"{each}__in": _NO_SECRET}) for each in stored), _connector=Q.OR)
    rows = model._default_manager.annotate(**stored).filter(has_secrets).order_by("pk")
    if after is not None:
        rows = rows.filter(pk__gt=after)
    return list(rows.values_list("pk", *stored)[:_REENCRYPTED_AT_ONCE])


def _reencrypt(model: type[models.Model], names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> Portion:
    portion = Portion(model._meta.db_table, len(rows))
    fields: list[Any] = [model._meta.get_field(name) for name in names]
    with transaction.atomic():
        for key, *texts in rows:
            try:
                renewed = [each.reencrypt(text) for each, text in zip(fields, texts, strict=True)]
            except SecretUnreadableError:
                portion.unreadable.append(str(key))
                continue
            if renewed == texts:
                continue
            # Only if the row still has the values that were read.
            stored = _stored(names)
            as_read = dict(zip(stored, texts, strict=True))
            unchanged = model._default_manager.annotate(**stored).filter(pk=key, **as_read)
            values = {name: Value(text, models.TextField()) for name, text in zip(names, renewed, strict=True)}
            portion.changed += unchanged.update(**values)
    return portion


def _stored(names: Sequence[str]) -> dict[str, Cast]:
    return {f"stored_{name}": Cast(name, models.TextField()) for name in names}
