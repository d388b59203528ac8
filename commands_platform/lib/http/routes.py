"""Paths with and without their last slash, and the identifiers inside them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias
from uuid import UUID

from django.http.response import HttpResponseBase
from django.urls import URLPattern, path

from commands_platform.lib.errors import NotFoundError

# As drf-spectacular hands them to its hooks: path, its regular expression, method, view.
Endpoint: TypeAlias = tuple[str, str, str, Callable[..., Any]]

_UUID = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)
_SLASHLESS = "-without-slash"


def both(route: str, view: Callable[..., HttpResponseBase], name: str) -> list[URLPattern]:
    """The documented path, which ends in a slash and is what `reverse(name)` gives, and its twin without the slash.

    No redirect leads from one to the other, because a redirected POST loses its body.
    """
    if not route.endswith("/"):
        raise ValueError(f"A documented path ends in a slash; {route!r} does not.")
    return [path(route, view, name=name), path(route[:-1], view, name=name + _SLASHLESS)]


def documented_endpoints(endpoints: Sequence[Endpoint]) -> list[Endpoint]:
    """Drops the twins without a slash from the OpenAPI schema (a preprocessing hook of drf-spectacular)."""
    paths = {endpoint[0] for endpoint in endpoints}
    return [endpoint for endpoint in endpoints if f"{endpoint[0]}/" not in paths]


def uuid_or_not_found(text: str) -> UUID:
    """The UUID of a path segment in its usual form, in either case; NotFoundError for any other text."""
    uuid = parse_uuid(text)
    if uuid is None:
        raise NotFoundError
    return uuid


def parse_uuid(text: str) -> UUID | None:
    """A UUID from its 36 characters; None for the braces, prefixes and missing hyphens that Python would let pass."""
    return UUID(text) if _UUID.fullmatch(text) else None
