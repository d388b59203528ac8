"""Base classes for every page of the admin. They add rules for secrets, searches and writes to unfold's ModelAdmin."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import quote, unquote
from django.contrib.admin.widgets import RelatedFieldWidgetWrapper
from django.db import models
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.safestring import SafeString
from unfold.views import ChangeList as UnfoldChangeList

from audit.subjects import identity_of
from commands_platform.lib.http.routes import parse_uuid
from commands_platform.operators import html, shown_once
from commands_platform.operators.actions import operator_action
from commands_platform.operators.forms import PlatformAutocompleteSelect, is_key_of, refuse_misleading_characters
from commands_platform.operators.permissions import may_view
from commands_platform.operators.shown_once import ShownOnce

if TYPE_CHECKING:
    from django.contrib.admin.views.main import ChangeList as _ChangeList

    _ModelAdmin = admin.ModelAdmin[Any]
else:
    from unfold.admin import ModelAdmin as _ModelAdmin

    _ChangeList = UnfoldChangeList

MAX_SEARCH_LENGTH = 100
_LOOKUPS_OF_FILTERS = ("__exact", "__id__exact", "__isnull")


class PlatformAdmin(_ModelAdmin):
    """The pages of a model. A UUID is searched for in `uuid_fields`, and any other text in `search_fields`."""

    list_per_page = 50
    list_filter_submit = True
    list_disable_select_all = True
    # Facets would need a query for each choice of each filter.
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
        if isinstance(db_field, models.CharField) and isinstance(field, forms.CharField):
            field.validators.append(refuse_misleading_characters)
        if field is not None and isinstance(field.widget, RelatedFieldWidgetWrapper):
            # Hide the links to pop-ups that add, change or view the related object.
            field.widget.can_add_related = field.widget.can_change_related = field.widget.can_view_related = False
        return field

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name in self.get_autocomplete_fields(request):
            kwargs["widget"] = PlatformAutocompleteSelect(db_field, self.admin_site)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def get_actions_detail(self, request: HttpRequest, object_id: str) -> list[Any]:
        """Returns the actions to offer for the object. A paused schedule, for example, cannot be paused."""
        allowed: list[Any] = super().get_actions_detail(request, object_id)  # type: ignore[misc]
        obj = self.get_object(request, unquote(object_id)) if allowed else None
        return [] if obj is None else [action for action in allowed if action.method.is_offered_for(obj)]

    def details_of(self, obj: Any) -> dict[str, Any]:
        """Returns the template context for the part of an object's page that is below its fields."""
        return {}

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *arguments: Any, **options: Any
    ) -> HttpResponse:
        obj = context.get("original")
        if obj is not None:
            context.update(self.details_of(obj))
        return super().render_change_form(request, context, *arguments, **options)

    def for_list(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Returns the rows for the list. Override it to defer wide columns, or to add values for the list."""
        return rows

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[_ChangeList]:
        return PlatformChangeList

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Returns whether a filter of the page uses this look-up. Any other could reveal a secret letter by letter."""
        return lookup in self._parameters_of_filters(request)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()[:MAX_SEARCH_LENGTH]
        uuid = parse_uuid(term)
        if uuid is not None and self.uuid_fields:
            return queryset.filter(
                functools.reduce(Q.__or__, (Q(**{field: uuid}) for field in self.uuid_fields))
            ), False
        return super().get_search_results(request, queryset, term)

    def response_action(self, request: HttpRequest, queryset: QuerySet[Any], *arguments: Any) -> HttpResponse | None:
        """Acts on the ticked rows only, even if "all" is selected, because that could be millions of rows."""
        posted = request.POST.copy()
        posted["select_across"] = "0"
        posted.setlist(ACTION_CHECKBOX_NAME, self._keys_in(request.POST.getlist(ACTION_CHECKBOX_NAME)))
        request.POST = posted  # type: ignore[assignment]
        return super().response_action(request, queryset, *arguments)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Saves the changed fields only. Other fields, such as a secret, may have changed since the page was loaded."""
        if change:
            obj.save(update_fields=form.changed_data)
        else:
            super().save_model(request, obj, form, change)

    def has_operate_permission(self, request: HttpRequest, obj: object = None) -> bool:
        """Returns whether the operator may run actions, even on pages whose fields nobody can edit."""
        user: Any = request.user
        return bool(user.has_perm(f"{self.opts.app_label}.change_{self.opts.model_name}"))

    def note(self, request: HttpRequest, obj: models.Model, what: str) -> None:
        """Adds what the operator did to the object's history."""
        self.log_change(request, obj, what)

    @admin.display(description="UUID")
    def identifier(self, obj: Any) -> SafeString:
        return html.mono(obj.uuid)

    @admin.display(description="Changes")
    def changes(self, obj: Any) -> SafeString:
        return html.link_to("audit_change_changelist", text="Show who changed it", query=f"?q={identity_of(obj)}")

    def change_url(self, obj: models.Model) -> str:
        return self.change_url_of(quote(obj.pk))

    def change_url_of(self, object_id: str) -> str:
        """Returns the URL of an object's page. `object_id` is the quoted key, as it is in the URL of an action."""
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_change", args=[object_id])

    def get_list_filter(self, request: HttpRequest) -> Any:
        """Returns the filters, except those that would list objects which the operator may not see."""
        return [each for each in super().get_list_filter(request) if self._may_use(each, request)]

    def _may_use(self, list_filter: Any, request: HttpRequest) -> bool:
        if not isinstance(list_filter, tuple | list) or not isinstance(list_filter[0], str):
            return True
        target = self.opts.get_field(list_filter[0]).related_model
        return target is None or may_view(f"{target._meta.app_label}_{target._meta.model_name}", request)

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
        return [text for text in texts if is_key_of(self.model, text)]


class PlatformChangeList(_ChangeList):
    """Passes the rows of a list through `for_list`."""

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        return self.model_admin.for_list(super().get_queryset(request, exclude_parameters))  # type: ignore[attr-defined, no-any-return]


class ReadOnlyAdmin(PlatformAdmin):
    """Read-only pages of rows that the platform writes. With `may_be_deleted` operators can delete them."""

    may_be_deleted: ClassVar[bool] = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may_be_deleted and super().has_delete_permission(request, obj)


class UndeletableAdmin(PlatformAdmin):
    """Pages of rows that can be deactivated, but not deleted: the ledger refers to them without a foreign key."""

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    @operator_action(
        label="Activate",
        question="It works again from now on.",
        icon="toggle_on",
        note="Activated.",
        done="Activated.",
        applies_to=lambda row: not row.is_active,
    )
    def activate(self, row: Any) -> None:
        self.set_active(row, is_active=True)

    @operator_action(
        label="Deactivate",
        question="It stops working from now on. You can activate it again.",
        icon="toggle_off",
        note="Deactivated.",
        done="Deactivated.",
        applies_to=lambda row: row.is_active,
        is_dangerous=True,
    )
    def deactivate(self, row: Any) -> None:
        self.set_active(row, is_active=False)

    def set_active(self, row: Any, *, is_active: bool) -> None:
        """Activates or deactivates the row."""
        row.is_active = is_active
        row.save(update_fields=["is_active"])


class ShowsOnceAdmin(PlatformAdmin):
    """Pages of objects that have a secret. The object's page shows the secret once."""

    change_form_outer_before_template = "admin/shown_once.html"

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        shown = shown_once.take(request) if request.method == "GET" else None
        response = super().change_view(request, object_id, form_url, {**(extra_context or {}), "shown_once": shown})
        shown_once.forget(request, response)
        return response

    def show_once(self, request: HttpRequest, response: HttpResponseBase, obj: models.Model, shown: ShownOnce) -> None:
        """Makes the object's page, to which the response redirects, show the secret."""
        shown_once.hand_over(request, response, shown, path=self.change_url(obj))
