"""The pages of calendars. Operators can only read them."""

from __future__ import annotations

import json

from django.contrib import admin
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from commands_platform.operators import html
from commands_platform.operators.columns import DateColumns, OwnerColumns
from commands_platform.operators.model_admin import ReadOnlyAdmin
from scheduling.calendars import Calendar

_CALENDAR_FIELDS = ("name", "organization_link", "created_in_full", "updated_in_full")


@admin.register(Calendar)
class CalendarAdmin(OwnerColumns, DateColumns, ReadOnlyAdmin):
    list_display = ("name", "organization", "days")
    list_filter = (("organization", AutocompleteSelectFilter),)
    search_fields = ("name",)
    search_help_text = "A name"
    uuid_fields = ("organization__uuid",)
    related = ("organization",)
    fieldsets = ((None, {"fields": _CALENDAR_FIELDS}), ("Days", {"fields": ("dates_block",)}))
    readonly_fields = (*_CALENDAR_FIELDS[1:], "dates_block")

    @admin.display(description="Dates and spans")
    def days(self, calendar: Calendar) -> int:
        return len(json.loads(calendar.dates))

    @admin.display(description="Dates and spans")
    def dates_block(self, calendar: Calendar) -> SafeString:
        return html.pretty_json(json.loads(calendar.dates))
