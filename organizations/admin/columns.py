"""Columns and widgets that the pages of organizations, users and commands share."""

from __future__ import annotations

import zoneinfo
from functools import cache
from typing import Any

from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import Model
from django.http import HttpRequest
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminSelect2Widget

from commands_platform.operators import html
from commands_platform.operators.model_admin import UndeletableAdmin
from organizations.models import validate_zone


class DirectoryAdmin(UndeletableAdmin):
    """Pages of a directory's rows. Adding one asks only for the first group of fields."""

    def get_fieldsets(self, request: HttpRequest, obj: Model | None = None) -> Any:
        fieldsets = super().get_fieldsets(request, obj)
        return fieldsets if obj else fieldsets[:1]

    @admin.display(description="State", ordering="is_active")
    def state(self, row: Any) -> SafeString:
        return html.badge("active", "success") if row.is_active else html.badge("inactive")

    @admin.display(description="Created (UTC)", ordering="created_at")
    def created(self, row: Any) -> SafeString:
        return html.instant(row.created_at)

    @admin.display(description="Created")
    def created_in_full(self, row: Any) -> SafeString:
        return html.instant_in_full(row.created_at)


def zone_widget(*, empty: str | None = None) -> UnfoldAdminSelect2Widget:
    """Returns a searchable list of time zones. `empty` is the label of the choice of none."""
    choices = [(name, name) for name in _zone_names()]
    return UnfoldAdminSelect2Widget(choices=choices if empty is None else [("", empty), *choices])


def links_to_lists(query: str, lists: tuple[tuple[str, str], ...]) -> SafeString:
    """Returns links to the lists of what belongs to an object."""
    links = ((html.link_to(f"{model}_changelist", text=text, query=query),) for text, model in lists)
    return format_html_join(" · ", "{}", links)


@cache
def _zone_names() -> tuple[str, ...]:
    """Returns every name that the models accept."""
    names = []
    for name in sorted(zoneinfo.available_timezones()):
        try:
            validate_zone(name)
        except ValidationError:
            continue
        names.append(name)
    return tuple(names)
