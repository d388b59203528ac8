"""Columns and widgets that the pages of organizations, users and commands share."""

from __future__ import annotations

import zoneinfo
from functools import cache
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponseRedirect
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminSelect2Widget

from commands_platform.lib.errors import PlatformError
from commands_platform.operators import html
from commands_platform.operators.columns import DateColumns, OwnerColumns
from commands_platform.operators.model_admin import UndeletableAdmin
from commands_platform.operators.permissions import url_if_allowed
from organizations import services
from organizations.models import validate_zone


class DirectoryAdmin(OwnerColumns, DateColumns, UndeletableAdmin):
    """The base of the pages of organizations, users and commands."""

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if change:
            services.change_in_directory(row=obj, changes={name: getattr(obj, name) for name in form.changed_data})
        else:
            services.create_in_directory(row=obj)

    def set_active(self, row: Any, *, is_active: bool) -> None:
        services.change_in_directory(row=row, changes={"is_active": is_active})

    def changeform_view(self, request: HttpRequest, *arguments: Any, **options: Any) -> Any:
        try:
            return super().changeform_view(request, *arguments, **options)
        except PlatformError as error:
            # Somebody else has taken the name or address since the form was checked.
            self.message_user(request, error.message, messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())

    @admin.display(description="State", ordering="is_active")
    def state(self, row: Any) -> SafeString:
        return html.badge("active", "success") if row.is_active else html.badge("inactive")

    @admin.display(description="Created (UTC)", ordering="created_at")
    def created(self, row: Any) -> SafeString:
        return html.instant(row.created_at)


def zone_widget(*, empty: str | None = None) -> UnfoldAdminSelect2Widget:
    """Returns a searchable list of time zones. With `empty`, it offers that label as the choice of no zone."""
    choices = [(name, name) for name in _zone_names()]
    return UnfoldAdminSelect2Widget(choices=choices if empty is None else [("", empty), *choices])


def links_to_lists(query: str, lists: tuple[tuple[str, str], ...]) -> SafeString:
    """Returns links to the lists of related objects. Lists that the operator may not open are left out."""
    urls = ((url_if_allowed(f"{model}_changelist", query=query), text) for text, model in lists)
    links = [(html.link(url, text),) for url, text in urls if url]
    return format_html_join(" · ", "{}", links) if links else html.DASH


@cache
def _zone_names() -> tuple[str, ...]:
    """Returns every time zone that the models accept."""
    names = []
    for name in sorted(zoneinfo.available_timezones()):
        try:
            validate_zone(name)
        except ValidationError:
            continue
        names.append(name)
    return tuple(names)
