"""Says what an entry shows of a row: every column of an audited model, and of secrets only a fingerprint."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Protocol
from uuid import UUID

import orjson
from django.conf import settings
from django.db import models

from audit.kinds import ObjectKind
from commands_platform.lib.database.encrypted import EncryptedTextField, EncryptedValuesField
from commands_platform.lib.instants import format_instant
from commands_platform.lib.json.column import JsonTextField
from outbound.address_guard import origin_of

Values = dict[str, Any]

_NEVER_SHOWN = frozenset({"uuid", "organization", "created_at", "updated_at"})
_FINGERPRINT_BYTES = 6


class AuditedRow(Protocol):
    """A row of a model whose changes are recorded."""

    @property
    def audited_as(self) -> ObjectKind: ...
    @property
    def not_audited(self) -> frozenset[str]:
        """The columns that the platform computes by itself."""
        ...

    @property
    def pk(self) -> Any: ...


def values_of(row: AuditedRow, *, only: Collection[str] | None = None) -> Values:
    """Returns what may be shown of the row's columns, as JSON values. With `only`, of these columns.

    A related row is its UUID. A callback URL is its origin and a fingerprint, because its path may be a secret. So may
    the content of a payload and the values of headers.
    """
    fields = _fields_of(type(row))
    return {field.name: _shown(field, row) for field in fields if only is None or field.name in only}


def without_defaults(row: AuditedRow, values: Values) -> Values:
    """Returns the values that differ from those of a row of which nothing was said."""
    defaults = _defaults_of(type(row))
    return {name: value for name, value in values.items() if value != defaults[name]}


def organization_of(row: AuditedRow) -> int:
    """Returns the primary key of the organization whose chain the row's changes belong to."""
    organization_id: int = getattr(row, "organization_id", row.pk)
    return organization_id


def identity_of(row: AuditedRow) -> str:
    """Returns the row's UUID, or the number of a hook or a calendar."""
    return str(getattr(row, "uuid", row.pk))


def fingerprint(value: object) -> str:
    """Returns a short text that differs for different values. Without SECRET_KEY nobody can find out the value."""
    text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    return hmac.digest(settings.SECRET_KEY.encode(), text, hashlib.sha256)[:_FINGERPRINT_BYTES].hex()


@cache
def _fields_of(model: Any) -> tuple[models.Field[Any, Any], ...]:
    left_out = _NEVER_SHOWN | model.not_audited
    return tuple(
        field
        for field in model._meta.concrete_fields
        if not field.primary_key
        and field.name not in left_out
        and not isinstance(field, EncryptedTextField | models.BinaryField)
    )


@cache
def _defaults_of(model: Any) -> Values:
    return values_of(model())


def _shown(field: models.Field[Any, Any], row: Any) -> Any:
    value = getattr(row, field.attname)
    if value is None or value == "":
        return value
    if isinstance(field, models.ForeignKey):
        return str(getattr(row, field.name).uuid)
    if isinstance(field, EncryptedValuesField):
        return {name: {"fingerprint": fingerprint(text)} for name, text in value.items()}
    if isinstance(field, JsonTextField):
        return {"bytes": len(orjson.dumps(value)), "fingerprint": fingerprint(value)} if value else value
    if field.name.endswith("callback_url"):
        return {"origin": _origin(value), "fingerprint": fingerprint(value)}
    return _as_json(value)


def _origin(url: str) -> str:
    try:
        return origin_of(url)
    except ValueError:
        return ""


def _as_json(value: object) -> object:
    if isinstance(value, datetime):
        return format_instant(value)
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, UUID):
        return str(value)
    return list(value) if isinstance(value, list | tuple) else value
