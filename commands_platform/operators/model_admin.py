"""What every page of the admin is built on: unfold's ModelAdmin, with rules for secrets, large tables and writes.

An action on one object is a dialog: it is confirmed, and it is a POST with a CSRF token, which unfold's plain object
actions are not.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import quote, unquote
from django.contrib.admin.widgets import AutocompleteSelect, RelatedFieldWidgetWrapper
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db import OperationalError, connection, models, transaction
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.safestring import SafeString
from psycopg.errors import QueryCanceled
from unfold.decorators import action as unfold_action
from unfold.enums import ActionVariant
from unfold.views import ChangeList as UnfoldChangeList

from commands_platform.lib.errors import PlatformError
from commands_platform.lib.http.routes import parse_uuid
from commands_platform.operators import html, shown_once
from commands_platform.operators.shown_once import ShownOnce

if TYPE_CHECKING:
    from django.contrib.admin.views.main import ChangeList as _ChangeList

    _ModelAdmin = admin.ModelAdmin[Any]
    _ModelForm = forms.ModelForm[Any]
    _Paginator = Paginator[Any]
else:
    from unfold.admin import ModelAdmin as _ModelAdmin

    _ChangeList = UnfoldChangeList
    _ModelForm = forms.ModelForm
    _Paginator = Paginator

Work = TypeVar("Work", bound=Callable[..., Any])

LONGEST_SEARCH = 100
_LOOKUPS_OF_FILTERS = ("__exact", "__id__exact", "__isnull")


class PlatformAdmin(_ModelAdmin):
    """A model's pages. Search takes the UUIDs in `uuid_fields` exactly and looks for other text in `search_fields`."""

    list_per_page = 50
    list_filter_submit = True
    list_disable_select_all = True
    # Their numbers would cost a count for each choice of each filter.
    show_facets = admin.ShowFacets.NEVER
    empty_value_display = "–"
    labels: ClassVar[Mapping[str, str]] = {}
    related: ClassVar[tuple[str, ...]] = ()
    uuid_fields: ClassVar[tuple[str, ...]] = ("uuid",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related(*self.related)

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name in self.labels:
            kwargs.setdefault("label", self.labels[db_field.name])
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field is not None and isinstance(field.widget, RelatedFieldWidgetWrapper):
            # One thing at a time: no pop-ups to make or change another object from here.
            field.widget.can_add_related = field.widget.can_change_related = field.widget.can_view_related = False
        return field

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name in self.get_autocomplete_fields(request):
            kwargs["widget"] = _AutocompleteSelect(db_field, self.admin_site)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def details_of(self, obj: Any) -> dict[str, Any]:
        """What the templates of an object's page show beside its fields."""
        return {}

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *arguments: Any, **options: Any
    ) -> HttpResponse:
        obj = context.get("original")
        if obj is not None:
            context.update(self.details_of(obj))
        return super().render_change_form(request, context, *arguments, **options)

    def for_list(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """The rows as the list needs them: without wide columns, with what only the list shows."""
        return rows

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[_ChangeList]:
        return PlatformChangeList

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Whether a filter of the page asks for it. Any other look-up would be a way to guess at columns letter by
        letter, those of secrets among them.
        """
        return lookup in self._parameters_of_filters(request)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()[:LONGEST_SEARCH]
        uuid = parse_uuid(term)
        if uuid is not None and self.uuid_fields:
            return queryset.filter(
                functools.reduce(Q.__or__, (Q(**{field: uuid}) for field in self.uuid_fields))
            ), False
        return super().get_search_results(request, queryset, term)

    def response_action(self, request: HttpRequest, queryset: QuerySet[Any], *arguments: Any) -> HttpResponse | None:
        """Acts on the rows that were ticked, and never on "all", which may be millions."""
        posted = request.POST.copy()
        posted["select_across"] = "0"
        posted.setlist(ACTION_CHECKBOX_NAME, self._keys_in(request.POST.getlist(ACTION_CHECKBOX_NAME)))
        request.POST = posted  # type: ignore[assignment]
        return super().response_action(request, queryset, *arguments)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Writes the fields that were changed alone: others, such as a secret, may be newer than this page."""
        if change:
            obj.save(update_fields=form.changed_data)
        else:
            super().save_model(request, obj, form, change)

    def has_operate_permission(self, request: HttpRequest, obj: object = None) -> bool:
        """Whether the operator may act on these rows, also where nobody may edit them."""
        user: Any = request.user
        return bool(user.has_perm(f"{self.opts.app_label}.change_{self.opts.model_name}"))

    def note(self, request: HttpRequest, obj: models.Model, what: str) -> None:
        """Puts what the operator did into the object's history."""
        self.log_change(request, obj, what)

    def for_each(
        self,
        request: HttpRequest,
        rows: Iterable[Any],
        work: Callable[[Any], object],
        *,
        done: str,
        note: str,
    ) -> None:
        """Does `work` for each row, says how many were `done`, and for each that was not, why."""
        count = 0
        for row in rows:
            try:
                work(row)
            except PlatformError as error:
                self.message_user(request, f"{row}: {error.message}", messages.ERROR)
            except self.model.DoesNotExist:
                self.message_user(request, f"{row}: it has been deleted since.", messages.ERROR)
            else:
                self.note(request, row, note)
                count += 1
        if count:
            self.message_user(request, f"{count} {done}", messages.SUCCESS)

    @admin.display(description="UUID")
    def identifier(self, obj: Any) -> SafeString:
        return html.mono(obj.uuid)

    def change_url(self, obj: models.Model) -> str:
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_change", args=[quote(obj.pk)])

    def _parameters_of_filters(self, request: HttpRequest | None) -> set[str]:
        parameters = set()
        for each in self.get_list_filter(request) if request is not None else self.list_filter:
            if isinstance(each, type) and issubclass(each, admin.SimpleListFilter):
                parameters.add(str(each.parameter_name))
            else:
                path = each[0] if isinstance(each, tuple | list) else each
                parameters |= {f"{path}{lookup}" for lookup in _LOOKUPS_OF_FILTERS}
        return parameters

    def _keys_in(self, texts: Sequence[str]) -> list[str]:
        return [text for text in texts if _is_key_of(self.model, text)]


class _AutocompleteSelect(AutocompleteSelect):
    """Django's, which fails when a form comes back to it with a choice that is no key."""

    def optgroups(self, name: str, value: Sequence[str], attrs: Any = None) -> Any:
        model = self.field.remote_field.model
        return super().optgroups(name, [key for key in value if not key or _is_key_of(model, key)], attrs)


class PlatformChangeList(_ChangeList):
    """A list whose rows its model's pages may still trim."""

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        return self.model_admin.for_list(super().get_queryset(request, exclude_parameters))  # type: ignore[attr-defined, no-any-return]


class ReadOnlyAdmin(PlatformAdmin):
    """Pages that only show, of what the platform writes itself; some of it may be deleted."""

    may_be_deleted: ClassVar[bool] = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may_be_deleted and super().has_delete_permission(request, obj)


class UndeletableAdmin(PlatformAdmin):
    """Pages of rows that the ledger names without a constraint of the database: they are deactivated, not deleted."""

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    @admin.action(description="Activate", permissions=["operate"])
    def activate(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        self._set_active(request, queryset, is_active=True)

    @admin.action(description="Deactivate", permissions=["operate"])
    def deactivate(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        self._set_active(request, queryset, is_active=False)

    def _set_active(self, request: HttpRequest, queryset: QuerySet[Any], *, is_active: bool) -> None:
        word = "activated" if is_active else "deactivated"

        def switch(row: Any) -> None:
            row.is_active = is_active
            row.save(update_fields=["is_active"])

        # One by one, since what follows from it is told to whoever listens to the saving of a row.
        rows = queryset.exclude(is_active=is_active)
        self.for_each(request, rows, switch, done=f"{word}.", note=f"{word.capitalize()}.")


class BoundedPaginator(_Paginator):
    """Pages of a table that is too large to be counted, or to be leafed through to its end."""

    template_name = "admin/bounded_pagination.html"
    most_pages = 100

    @cached_property
    def count(self) -> int:
        """As many as may be leafed through; how many there are is not known."""
        return self.per_page * self.most_pages


class NewestFirstChangeList(PlatformChangeList):
    """In the order of the primary key alone, whatever the query string asks for."""

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        return ["-pk"]

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        # Equal numbers are told nowhere, and these are not numbers of rows.
        self.full_result_count = self.result_count


class LargeTableAdmin(PlatformAdmin):
    """Pages of a table with millions of rows: newest first by the primary key, never counted, searched exactly.

    What `search_exactly` and the filters make of it may still have no index; a list that takes too long is given up.
    """

    paginator = BoundedPaginator
    show_full_result_count = False
    ordering = ("-pk",)
    sortable_by = ()
    # What is typed into the search box goes to `search_exactly`; without an entry here there would be no box.
    search_fields = ("pk",)
    longest_list_query_ms: ClassVar[int] = 5_000

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[_ChangeList]:
        return NewestFirstChangeList

    def search_exactly(self, rows: QuerySet[Any], text: str) -> QuerySet[Any]:
        """The rows that a text which is no UUID stands for."""
        return rows.none()

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()[:LONGEST_SEARCH]
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
                    # The rows are read before the response is rendered, so it is they that the limit is for.
                    cursor.execute(
                        "SELECT set_config('statement_timeout', %s, true)", [str(self.longest_list_query_ms)]
                    )
                return super().changelist_view(request, extra_context)
        except OperationalError as error:
            if not isinstance(error.__cause__, QueryCanceled) or not request.GET:
                raise
        message = "That would have taken too long: choose a shorter period, or search by a UUID."
        self.message_user(request, message, messages.WARNING)
        return HttpResponseRedirect(request.path)


class ShowsOnceAdmin(PlatformAdmin):
    """Pages of objects with a secret: `show_once` has the object's page show it a single time."""

    change_form_outer_before_template = "admin/shown_once.html"

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        shown = shown_once.take(request) if request.method == "GET" else None
        response = super().change_view(request, object_id, form_url, {**(extra_context or {}), "shown_once": shown})
        shown_once.forget(request, response)
        return response

    def show_once(self, request: HttpRequest, response: HttpResponseBase, obj: models.Model, shown: ShownOnce) -> None:
        """Gives what the object's page is to show to the response that leads there."""
        shown_once.hand_over(request, response, shown, path=self.change_url(obj))


def object_action(
    *, label: str, question: str, button: str, icon: str, is_dangerous: bool = False
) -> Callable[[Work], Work]:
    """Makes a method of a model's pages, which takes the request and the object, a button of the object's page.

    The operator confirms it in a dialog and needs the permission to change the object. The method may return a
    ShownOnce, a sentence for the operator, or None; of a PlatformError the message is shown.
    """

    def decorate(work: Work) -> Work:
        @functools.wraps(work)
        def confirmed(pages: Any, request: HttpRequest, form: forms.Form, object_id: str) -> HttpResponse:  # noqa: ARG001
            obj = pages.get_object(request, unquote(object_id))
            if obj is None:
                raise Http404
            outcome: ShownOnce | str | None = None
            try:
                outcome = work(pages, request, obj)
            except PlatformError as error:
                pages.message_user(request, error.message, messages.ERROR)
            response = _go_to(request, pages.change_url(obj))
            if isinstance(outcome, ShownOnce):
                pages.show_once(request, response, obj, outcome)
            elif outcome:
                pages.message_user(request, outcome, messages.SUCCESS)
            return response

        decorated = unfold_action(
            confirmed,
            description=label,
            permissions=["operate"],
            icon=icon,
            variant=ActionVariant.DANGER if is_dangerous else ActionVariant.DEFAULT,
            dialog={"title": label, "description": question, "form_class": None, "form_submit_text": button},
        )
        return cast("Work", decorated)

    return decorate


class WholeConstraintsForm(_ModelForm):
    """Checks also those constraints that a field takes part in which the page shows but does not let be changed."""

    shown_fields: ClassVar[frozenset[str]] = frozenset()

    def _get_validation_exclusions(self) -> set[str]:
        return set(super()._get_validation_exclusions()) - self.shown_fields  # type: ignore[misc]


def _is_key_of(model: type[models.Model], text: str) -> bool:
    try:
        model._meta.pk.to_python(text)
    except ValidationError:
        return False
    return True


def _go_to(request: HttpRequest, url: str) -> HttpResponse:
    """Leads the browser there from a form, or from a dialog, whose htmx would follow a redirect by itself."""
    if request.headers.get("HX-Request"):
        return HttpResponse(headers={"HX-Redirect": url})
    return HttpResponseRedirect(url)
