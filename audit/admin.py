"""The pages of changes. Operators can only read them."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter, ChoicesDropdownFilter

from audit.models import Change
from commands_platform.operators import html
from commands_platform.operators.columns import OwnerColumns
from commands_platform.operators.large_tables import LargeTableAdmin
from commands_platform.operators.model_admin import ReadOnlyAdmin

_WHAT_FIELDS = ("recorded_in_full", "verb_badge", "object_in_full", "organization_link")
_ACTOR_FIELDS = ("actor", "actor_address", "correlation_id")
_VALUE_FIELDS = ("old_block", "new_block")
_CHAIN_FIELDS = ("position", "hash")


@admin.register(Change)
class ChangeAdmin(OwnerColumns, ReadOnlyAdmin, LargeTableAdmin):
    list_display = ("recorded", "verb_badge", "object", "fields_changed", "actor", "actor_address")
    list_filter = (
        ("organization", AutocompleteSelectFilter),
        ("object_kind", ChoicesDropdownFilter),
        ("verb", ChoicesDropdownFilter),
        ("actor_kind", ChoicesDropdownFilter),
    )
    search_help_text = "The UUID of a change or of its object, or the number of a hook"
    uuid_fields = ("pk", "object_uuid")
    related = ("organization",)
    fieldsets = (
        (None, {"fields": _WHAT_FIELDS}),
        ("By", {"fields": _ACTOR_FIELDS}),
        ("Values", {"fields": _VALUE_FIELDS}),
        ("Chain", {"fields": _CHAIN_FIELDS}),
    )
    readonly_fields = (*_WHAT_FIELDS, *_ACTOR_FIELDS, *_VALUE_FIELDS, *_CHAIN_FIELDS)

    def search_exactly(self, rows: QuerySet[Any], text: str) -> QuerySet[Any]:
        return rows.filter(object_uuid=text)

    @admin.display(description="Time (UTC)")
    def recorded(self, change: Change) -> SafeString:
        return html.instant_and_distance(change.recorded_at)

    @admin.display(description="Time")
    def recorded_in_full(self, change: Change) -> SafeString:
        return html.instant_in_full(change.recorded_at)

    @admin.display(description="Action")
    def verb_badge(self, change: Change) -> SafeString:
        return html.badge(change.get_verb_display())

    @admin.display(description="Object")
    def object(self, change: Change) -> SafeString:
        return html.two_lines(change.object_name, change.get_object_kind_display())

    @admin.display(description="Object")
    def object_in_full(self, change: Change) -> SafeString:
        return html.two_lines(change.object_name, f"{change.get_object_kind_display()} {change.object_uuid}")

    @admin.display(description="Fields")
    def fields_changed(self, change: Change) -> SafeString:
        return html.badges(sorted({*change.old, *change.new}), most=3)

    @admin.display(description="By")
    def actor(self, change: Change) -> SafeString:
        return html.two_lines(change.actor_name, change.get_actor_kind_display())

    @admin.display(description="Old")
    def old_block(self, change: Change) -> SafeString:
        return html.pretty_json(change.old)

    @admin.display(description="New")
    def new_block(self, change: Change) -> SafeString:
        return html.pretty_json(change.new)
