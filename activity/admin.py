"""The pages of activity. Operators can only read records."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from activity.models import ActivityRecord
from commands_platform.operators import html
from commands_platform.operators.columns import DateColumns, OwnerColumns
from commands_platform.operators.large_tables import LargeTableAdmin
from commands_platform.operators.model_admin import ReadOnlyAdmin

_FIELDS = ("category", "action", "label", "created_in_full", "organization_link", "command_link", "user_link")


@admin.register(ActivityRecord)
class ActivityRecordAdmin(OwnerColumns, DateColumns, ReadOnlyAdmin, LargeTableAdmin):
    list_display = ("created", "what", "about", "user_of", "command_of")
    list_filter = (("organization", AutocompleteSelectFilter), ("command", AutocompleteSelectFilter))
    search_help_text = "An exact category or action, or the UUID of a user"
    uuid_fields = ("user__uuid",)
    related = ("organization", "command", "user")
    fieldsets = (
        (None, {"fields": _FIELDS}),
        ("Metadata", {"fields": ("metadata_block",)}),
    )
    readonly_fields = (*_FIELDS[3:], "metadata_block")

    def for_list(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        return rows.defer("metadata")

    def search_exactly(self, rows: QuerySet[Any], text: str) -> QuerySet[Any]:
        return rows.filter(Q(category=text) | Q(action=text))

    @admin.display(description="Time (UTC)")
    def created(self, record: ActivityRecord) -> SafeString:
        return html.instant_and_distance(record.created_at)

    @admin.display(description="Action")
    def what(self, record: ActivityRecord) -> SafeString:
        return html.two_lines(record.action, record.category)

    @admin.display(description="Label")
    def about(self, record: ActivityRecord) -> SafeString | str:
        return record.label or html.DASH

    @admin.display(description="User")
    def user_of(self, record: ActivityRecord) -> SafeString | str:
        return record.user.full_name if record.user else html.DASH

    @admin.display(description="Command")
    def command_of(self, record: ActivityRecord) -> SafeString:
        return html.two_lines(record.command, record.organization)

    @admin.display(description="Metadata")
    def metadata_block(self, record: ActivityRecord) -> SafeString:
        return html.pretty_json(record.metadata)
