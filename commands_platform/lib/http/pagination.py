"""Splits lists into pages by `limit` and `offset`, which are bounded, and by the size of large columns."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import reduce
from operator import add
from typing import Any, TypeVar

from django.db.models import F, Func, IntegerField, Model, QuerySet
from django.http import HttpRequest
from django.utils.encoding import escape_uri_path
from rest_framework import serializers

MAX_LIMIT = 250
MAX_OFFSET = 2**31 - 1
MAX_PAGE_BYTES = 1024 * 1024

_Row = TypeVar("_Row", bound=Model)


class PageNumberField(serializers.IntegerField):
    """A number of ASCII digits in a query string. Larger numbers are reduced to `largest`, and 0 becomes `if_zero`."""

    default_error_messages = {"invalid": "A valid non-negative integer is required."}

    def __init__(self, *, largest: int, if_zero: int = 0, **kwargs: Any) -> None:
        self.largest = largest
        self.if_zero = if_zero
        # There is no validator for `largest`, so that the schema does not make clients refuse larger numbers.
        super().__init__(required=False, default=if_zero, **kwargs)

    def get_value(self, dictionary: Mapping[str, Any]) -> Any:
        # REST framework would treat an empty text as missing.
        return dictionary.get(self.field_name or "", serializers.empty)

    def to_internal_value(self, data: Any) -> int:
        text = str(data)
        if not (text.isascii() and text.isdigit()):
            self.fail("invalid")
        digits = text.lstrip("0")
        # Python refuses to read thousands of digits.
        if len(digits) > len(str(self.largest)):
            return self.largest
        return min(int(digits or "0"), self.largest) or self.if_zero


class LimitQuery(serializers.Serializer[Any]):
    """The query of a list that continues from a cursor."""

    limit = PageNumberField(
        largest=MAX_LIMIT, if_zero=MAX_LIMIT, help_text=f"The number of rows on a page, at most {MAX_LIMIT}."
    )


class PageQuery(LimitQuery):
    """The query of a list with numbered rows."""

    offset = PageNumberField(largest=MAX_OFFSET, help_text="The number of rows to skip.")


def paginate(
    request: HttpRequest,
    queryset: QuerySet[_Row],
    query: Mapping[str, Any],
    *,
    render: Callable[[Sequence[_Row]], Sequence[object]],
    weigh: Collection[str] = (),
) -> dict[str, object]:
    """Returns one page as `{"count", "next", "previous", "results"}`, for a query that a PageQuery has read.

    `weigh` names text columns that can be large. The page ends before they exceed MAX_PAGE_BYTES in total, and `next`
    continues from there. A queryset without an order is ordered by its primary key.
    """
    limit, offset = query["limit"], query["offset"]
    count = queryset.count()
    rows: list[_Row] = []
    if offset < count:
        ordered = queryset if queryset.ordered else queryset.order_by("pk")
        rows, _ = fitting_rows(ordered[offset : offset + limit], limit=limit, weigh=weigh)
    following = offset + (len(rows) or limit)
    return {
        "count": count,
        "next": _page_url(request, limit, following) if following < count else None,
        "previous": _page_url(request, limit, max(0, offset - limit)) if offset > 0 else None,
        "results": render(rows),
    }


def fitting_rows(rows: QuerySet[_Row], *, limit: int, weigh: Collection[str]) -> tuple[list[_Row], bool]:
    """Returns the first rows, and whether there are more.

    There are `limit` rows at most, with up to MAX_PAGE_BYTES in the text columns `weigh`, but at least one row.
    """
    if not weigh:
        found = list(rows[: limit + 1])
        return found[:limit], len(found) > limit
    # PostgreSQL knows the length of a stored text without reading it.
    weight = reduce(add, (Func(F(name), function="octet_length", output_field=IntegerField()) for name in weigh))
    sizes = list(rows.values_list(weight, flat=True)[: limit + 1])
    budget = MAX_PAGE_BYTES
    fitting = 0
    for size in sizes[:limit]:
        budget -= size
        if budget < 0 and fitting:
            break
        fitting += 1
    return list(rows[:fitting]) if fitting else [], len(sizes) > fitting


def _page_url(request: HttpRequest, limit: int, offset: int) -> str:
    query = request.GET.copy()
    query["limit"] = str(limit)
    if offset:
        query["offset"] = str(offset)
    else:
        query.pop("offset", None)
    return request.build_absolute_uri(f"{escape_uri_path(request.path)}?{query.urlencode()}")
