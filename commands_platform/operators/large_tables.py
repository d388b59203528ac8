"""Pages of tables with millions of rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import messages
from django.core.paginator import Paginator
from django.db import OperationalError, connection, transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.utils.functional import cached_property
from psycopg.errors import QueryCanceled

from commands_platform.lib.http.routes import parse_uuid
from commands_platform.operators.model_admin import MAX_SEARCH_LENGTH, PlatformAdmin, PlatformChangeList

if TYPE_CHECKING:
    from django.contrib.admin.views.main import ChangeList

    _Paginator = Paginator[Any]
else:
    _Paginator = Paginator


class BoundedPaginator(_Paginator):
    """Pages through a table that is too large to count. It offers the first 100 pages only."""

    template_name = "admin/bounded_pagination.html"
    max_pages = 100

    @cached_property
    def count(self) -> int:
        """Returns the number of rows on all the pages that are offered. The number of rows in the table is unknown."""
        return self.per_page * self.max_pages


class NewestFirstChangeList(PlatformChangeList):
    """Always lists the highest primary key first, and ignores any other order in the query string."""

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        return ["-pk"]

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        # Both numbers are made up here. The template shows neither of them if they are equal.
        self.full_result_count = self.result_count


class LargeTableAdmin(PlatformAdmin):
    """Pages of a table with millions of rows. They list the newest first, never count, and search for exact values.

    Some searches and filters have no index, so a list that takes too long is cancelled.
    """

    paginator = BoundedPaginator
    show_full_result_count = False
    ordering = ("-pk",)
    sortable_by = ()
    # The search itself is `search_exactly`. Django shows the search box only if there is an entry here.
    search_fields = ("pk",)
    max_list_query_ms: ClassVar[int] = 5_000

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return NewestFirstChangeList

    def search_exactly(self, rows: QuerySet[Any], text: str) -> QuerySet[Any]:
        """Returns the rows that match the text. Searches for a UUID do not come here."""
        return rows.none()

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()[:MAX_SEARCH_LENGTH]
        if not term:
            return queryset, False
        if self.uuid_fields and parse_uuid(term) is not None:
            return super().get_search_results(request, queryset, term)
        return self.search_exactly(queryset, term), False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponseBase:  # type: ignore[override]
        if request.method != "GET":
            return super().changelist_view(request, extra_context)
        try:
            with transaction.atomic():
                with connection.cursor() as cursor:
                    # The timeout covers the queries of the list, which all run before the response is rendered.
                    cursor.execute("SELECT set_config('statement_timeout', %s, true)", [str(self.max_list_query_ms)])
                return super().changelist_view(request, extra_context)
        except OperationalError as error:
            if not isinstance(error.__cause__, QueryCanceled) or not request.GET:
                raise
        message = "This took too long. Choose a shorter period, or search for a UUID."
        self.message_user(request, message, messages.WARNING)
        return HttpResponseRedirect(request.path)
