"""Filters and sorts lists, and splits them into pages: by `limit`, `offset` or `cursor`, and by the size of columns."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import reduce
from operator import add
from typing import Any, NamedTuple, TypeVar

from django.db.models import F, Func, IntegerField, Model, QuerySet
from django.http import HttpRequest
from django.utils.encoding import escape_uri_path
from rest_framework import serializers

from commands_platform.lib.http.cursors import ListCursorField, Order
from commands_platform.lib.http.filters import fixed_columns, narrow
from commands_platform.lib.http.inputs import QueryValues

MAX_LIMIT = 250
MAX_OFFSET = 2**31 - 1
# Skipping and counting rows takes time that grows with their number.
MAX_LIST_OFFSET = 50_000
MAX_COUNT = 50_000
MAX_PAGE_BYTES = 1024 * 1024

_Row = TypeVar("_Row", bound=Model)


class PageNumberField(serializers.IntegerField):
    """A number of ASCII digits in a query string. 0 becomes `if_zero`.

    A number that is larger than `largest` is reduced to it, unless `refuses_larger` is set.
    """

    default_error_messages = {
        "invalid": "A valid non-negative integer is required.",
        "too_large": "It can be {largest} at most. To read more, use `cursor`.",
    }

    def __init__(self, *, largest: int, if_zero: int = 0, refuses_larger: bool = False, **kwargs: Any) -> None:
        self.largest = largest
        self.if_zero = if_zero
        self.refuses_larger = refuses_larger
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
        is_long = len(digits) > len(str(self.largest))
        number = self.largest + 1 if is_long else int(digits or "0")
        if number > self.largest and self.refuses_larger:
            self.fail("too_large", largest=self.largest)
        return min(number, self.largest) or self.if_zero


class CursorQuery(serializers.Serializer[Any]):
    """The query of a list that is always read from a cursor."""

    limit = PageNumberField(
        largest=MAX_LIMIT, if_zero=MAX_LIMIT, help_text=f"The number of rows on a page, at most {MAX_LIMIT}."
    )
    cursor = ListCursorField()


class PageQuery(CursorQuery):
    """The query of a documented list, whose rows are numbered."""

    offset = PageNumberField(largest=MAX_OFFSET, help_text="The number of rows to skip.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "cursor" in attrs and attrs["offset"]:
            raise serializers.ValidationError({"offset": ["Give either a cursor or an offset."]})
        return attrs


class ListQuery(PageQuery):
    """The query of a list of ours. Pages far from the beginning need a cursor."""

    offset = PageNumberField(
        largest=MAX_LIST_OFFSET,
        refuses_larger=True,
        help_text=f"The number of rows to skip, at most {MAX_LIST_OFFSET}. To read more, use `cursor`.",
    )


def paginate(
    request: HttpRequest,
    queryset: QuerySet[_Row],
    query: QueryValues,
    *,
    render: Callable[[Sequence[_Row]], Sequence[object]],
    weigh: Collection[str] = (),
) -> dict[str, object]:
    """Returns one page of the rows that match the query, as `{"count", "next", "previous", "results"}`.

    `weigh` names text columns that can be large. The page ends before they exceed MAX_PAGE_BYTES in total, and `next`
    continues from there. With a cursor there is no count, and a long list has the count null.
    """
    rows = narrow(queryset, query)
    fixed = fixed_columns(query)
    # PostgreSQL would not read an index in order for the sake of a boolean that the condition fixes.
    order = Order.of(rows, [column for column in query.get("sort", ()) if column.name not in fixed])
    if "cursor" in query:
        page = read_from_cursor(request, rows, query, order=order, weigh=weigh)
        return {"next": page.next, "previous": page.previous, "results": render(page.rows)}
    limit, offset = query["limit"], query["offset"]
    count = _count_of(rows) if offset else None
    found: list[_Row] = []
    more = False
    if count is None or offset < count or count > MAX_COUNT:
        found, more = fitting_rows(order.apply(rows), limit=limit, weigh=weigh, offset=offset)
    if count is None:
        # A first page without a next one is the whole list.
        count = _count_of(rows) if more else len(found)
    following = None
    if more and offset + len(found) <= MAX_LIST_OFFSET:
        following = _url(request, limit=limit, offset=offset + len(found))
    elif more:
        following = _url(request, limit=limit, cursor=order.cursor_text(found[-1]))
    return {
        "count": count if count <= MAX_COUNT else None,
        "next": following,
        "previous": _url(request, limit=limit, offset=max(0, offset - limit)) if offset > 0 else None,
        "results": render(found),
    }


def _count_of(rows: QuerySet[_Row]) -> int:
    return rows.order_by()[: MAX_COUNT + 1].count()


class CursorPage(NamedTuple):
    """A page of a list, with the URLs of its neighbours."""

    rows: list[Any]
    next: str | None
    previous: str | None


def read_from_cursor(
    request: HttpRequest, rows: QuerySet[_Row], query: QueryValues, *, order: Order, weigh: Collection[str] = ()
) -> CursorPage:
    """Returns the page at the query's cursor, or the first page. Raises REST framework's ValidationError."""
    limit, text = query["limit"], query.get("cursor")
    if not text:
        found, more = fitting_rows(order.apply(rows), limit=limit, weigh=weigh)
        has_next, has_previous = more, False
    else:
        cursor = order.read_cursor(text)
        found, more = fitting_rows(order.rows_from(rows, cursor), limit=limit, weigh=weigh)
        if cursor.is_backwards:
            found.reverse()
        has_next, has_previous = (True, more) if cursor.is_backwards else (more, True)
    following = _url(request, limit=limit, cursor=order.cursor_text(found[-1])) if found and has_next else None
    before = order.cursor_text(found[0], is_backwards=True) if found and has_previous else None
    return CursorPage(found, following, _url(request, limit=limit, cursor=before) if before else None)


def fitting_rows(
    rows: QuerySet[_Row], *, limit: int, weigh: Collection[str], offset: int = 0
) -> tuple[list[_Row], bool]:
    """Returns the first rows after `offset` others, and whether there are more.

    There are `limit` rows at most, with up to MAX_PAGE_BYTES in the text columns `weigh`, but at least one row.
    """
    if not weigh:
        found = list(rows[offset : offset + limit + 1])
        return found[:limit], len(found) > limit
    # PostgreSQL knows the length of a stored text without reading it.
    weight = reduce(add, (Func(F(name), function="octet_length", output_field=IntegerField()) for name in weigh))
    sizes = list(rows.values_list("pk", weight)[offset : offset + limit + 1])
    budget = MAX_PAGE_BYTES
    fitting: dict[Any, int] = {}
    for key, size in sizes[:limit]:
        budget -= size
        if budget < 0 and fitting:
            break
        fitting[key] = len(fitting)
    # They are in order already, so only the first statement has to sort.
    chosen = rows.order_by().filter(pk__in=fitting) if fitting else ()
    return sorted(chosen, key=lambda row: fitting[row.pk]), len(sizes) > len(fitting)


def _url(request: HttpRequest, *, limit: int, offset: int = 0, cursor: str = "") -> str:
    query = request.GET.copy()
    query["limit"] = str(limit)
    for name, value in (("offset", offset), ("cursor", cursor)):
        if value:
            query[name] = str(value)
        else:
            query.pop(name, None)
    return request.build_absolute_uri(f"{escape_uri_path(request.path)}?{query.urlencode()}")
