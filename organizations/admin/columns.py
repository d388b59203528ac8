"""Columns and widgets that the pages of organizations, users and commands share."""

from __future__ import annotations

import zoneinfo
from functools import cache
from typing import Any

from django.contrib import admin
from django.core.exceptions import ValidationError
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminSelect2Widget

from commands_platform.operators import html
from commands_platform.operators.columns import DateColumns, OwnerColumns
from commands_platform.operators.model_admin import UndeletableAdmin
from commands_platform.operators.permissions import url_if_allowed
from organizations.models import validate_zone


class DirectoryAdmin(OwnerColumns, DateColumns, UndeletableAdmin):
    """The base of the pages of organizations, users and commands."""

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
