"""Makes paths with and without their last slash, and reads the identifiers in them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar
from uuid import UUID

from django.db.models import Model, QuerySet
from django.http.response import HttpResponseBase
from django.urls import URLPattern, path

from commands_platform.lib.errors import NotFoundError

_Row = TypeVar("_Row", bound=Model)

# The arguments of drf-spectacular's hooks: path, its regular expression, method and view.
Endpoint: TypeAlias = tuple[str, str, str, Callable[..., Any]]

_UUID = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)
_SLASHLESS = "-without-slash"


def both(route: str, view: Callable[..., HttpResponseBase], name: str) -> list[URLPattern]:
    """Returns the documented path, which ends in a slash and which `reverse(name)` returns, and the one without it.

    There is no redirect from one to the other, because a redirected POST loses its body.
    """
    if not route.endswith("/"):
        raise ValueError(f"A documented path ends in a slash; {route!r} does not.")
    return [path(route, view, name=name), path(route[:-1], view, name=name + _SLASHLESS)]


def documented_endpoints(endpoints: Sequence[Endpoint]) -> list[Endpoint]:
    """Leaves out paths without a slash from the OpenAPI document (a preprocessing hook of drf-spectacular)."""
    paths = {endpoint[0] for endpoint in endpoints}
    return [endpoint for endpoint in endpoints if f"{endpoint[0]}/" not in paths]


def uuid_or_not_found(text: str) -> UUID:
    """Returns the UUID in a path segment. Raises NotFoundError if `parse_uuid` does not accept it."""
    uuid = parse_uuid(text)
    if uuid is None:
        raise NotFoundError
    return uuid


def find_by_uuid(rows: QuerySet[_Row], text: str) -> _Row:
    """Returns the row whose UUID is in a path segment. Raises NotFoundError if there is none."""
    return first_or_not_found(rows.filter(uuid=uuid_or_not_found(text)))


def first_or_not_found(rows: QuerySet[_Row]) -> _Row:
    """Returns the first of the rows. Raises NotFoundError if there is none."""
    row = rows.first()
    if row is None:
        raise NotFoundError
    return row


def parse_uuid(text: str) -> UUID | None:
    """Returns the UUID with these 36 characters, or None. Python would also accept braces, prefixes and no hyphens."""
    return UUID(text) if _UUID.fullmatch(text) else None
