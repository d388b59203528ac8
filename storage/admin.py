"""The pages of items. Operators can read and delete items, but only commands write them."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import F, Func, IntegerField, QuerySet
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from commands_platform.operators import html
from commands_platform.operators.columns import DateColumns, OwnerColumns
from commands_platform.operators.large_tables import LargeTableAdmin
from commands_platform.operators.model_admin import ReadOnlyAdmin
from storage.models import Item


@admin.register(Item)
class ItemAdmin(OwnerColumns, DateColumns, ReadOnlyAdmin, LargeTableAdmin):
    may_be_deleted = True
    list_display = ("key_of", "bucket", "bytes", "version_of", "expiry", "updated")
    list_filter = (("organization", AutocompleteSelectFilter), ("command", AutocompleteSelectFilter))
    search_help_text = "An exact key, or the UUID of a user"
    uuid_fields = ("user__uuid",)
    related = ("organization", "command", "user")
    fieldsets = (
        (None, {"fields": ("key_in_full", "value_block")}),
        ("Bucket", {"fields": ("organization_link", "command_link", "user_link", "namespace")}),
        ("About", {"fields": ("version_of", "expiry_in_full", "created_in_full", "updated_in_full")}),
    )
    readonly_fields = (
        *("key_in_full", "value_block", "organization_link", "command_link", "user_link"),
        *("version_of", "expiry_in_full", "created_in_full", "updated_in_full"),
    )

    def for_list(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        # PostgreSQL knows the length of a value without reading the value.
        length = Func(F("value"), function="octet_length", output_field=IntegerField())
        listed: QuerySet[Any] = rows.annotate(value_bytes=length).defer("value")
        return listed

    def search_exactly(self, rows: QuerySet[Any], text: str) -> QuerySet[Any]:
        return rows.filter(key=text)

    @admin.display(description="Key")
    def key_of(self, item: Item) -> SafeString:
        return html.clipped(item.key)

    @admin.display(description="Key")
    def key_in_full(self, item: Item) -> SafeString:
        return html.mono(item.key)

    @admin.display(description="Bucket")
    def bucket(self, item: Item) -> SafeString:
        namespace = f"namespace {item.namespace}" if item.namespace else ""
        if item.command is None:
            return html.two_lines(item.organization, namespace)
        owner = f"{item.command} · {item.user}" if item.user else str(item.command)
        return html.two_lines(owner, " · ".join(filter(None, (str(item.organization), namespace))))

    @admin.display(description="Size")
    def bytes(self, item: Any) -> str:
        return html.size(item.value_bytes)

    @admin.display(description="Version")
    def version_of(self, item: Item) -> str:
        return str(item.version)

    @admin.display(description="Expires")
    def expiry(self, item: Item) -> SafeString:
        if item.expires_at is None:
            return html.subtle("never")
        if item.is_expired_at(timezone.now()):
            return html.badge("expired", "warning")
        return html.when(item.expires_at)

    @admin.display(description="Updated (UTC)")
    def updated(self, item: Item) -> SafeString:
        return html.instant_and_distance(item.updated_at)

    @admin.display(description="Value")
    def value_block(self, item: Item) -> SafeString:
        return html.pretty_json(item.value)

    @admin.display(description="Expires")
    def expiry_in_full(self, item: Item) -> SafeString:
        return html.instant_in_full(item.expires_at) if item.expires_at else html.subtle("never")
