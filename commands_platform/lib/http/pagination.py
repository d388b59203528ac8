"""Lists a page at a time: `limit` and `offset`, bounded, whatever the query string says."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.encoding import escape_uri_path

from commands_platform.lib.errors import InvalidInputError

MAX_LIMIT = 250
MAX_OFFSET = 2**31 - 1

Row = TypeVar("Row", bound=Model)


def paginate(request: HttpRequest, queryset: QuerySet[Row], *, serialize: Callable[[Row], object]) -> dict[str, object]:
    """One page as `{"count", "next", "previous", "results"}`, in two statements at most.

    `serialize` turns one row into its JSON value. A queryset without an order is ordered by its primary key.
    """
    limit, offset = slice_bounds(request)
    count = queryset.count()
    rows: list[Row] = []
    if offset < count:
        ordered = queryset if queryset.ordered else queryset.order_by("pk")
        rows = list(ordered[offset : offset + limit])
    following = offset + limit
    return {
        "count": count,
        "next": _page_url(request, limit, following) if following < count else None,
        "previous": _page_url(request, limit, max(0, offset - limit)) if offset > 0 else None,
        "results": [serialize(row) for row in rows],
    }


def slice_bounds(request: HttpRequest) -> tuple[int, int]:
    """`limit` (1 to 250; 250 where it is absent or 0) and `offset` (from 0), both cut to their bounds.

    Raises InvalidInputError naming the parameter for anything but ASCII digits.
    """
    limit = _number(request, "limit", absent=MAX_LIMIT, largest=MAX_LIMIT)
    return limit or MAX_LIMIT, _number(request, "offset", absent=0, largest=MAX_OFFSET)


def _number(request: HttpRequest, name: str, *, absent: int, largest: int) -> int:
    text = request.GET.get(name)
    if text is None:
        return absent
    if not (text.isascii() and text.isdigit()):
        raise InvalidInputError(errors={name: ["A valid non-negative integer is required."]})
    digits = text.lstrip("0") or "0"
    # Python refuses to read thousands of digits, and no bound has as many.
    return largest if len(digits) > len(str(largest)) else min(int(digits), largest)


def _page_url(request: HttpRequest, limit: int, offset: int) -> str:
    query = request.GET.copy()
    query["limit"] = str(limit)
    if offset:
        query["offset"] = str(offset)
    else:
        query.pop("offset", None)
    return request.build_absolute_uri(f"{escape_uri_path(request.path)}?{query.urlencode()}")
