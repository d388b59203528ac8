"""The pages of organizations."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Field
from django.http import HttpRequest
from django.utils.safestring import SafeString

from commands_platform.operators.filters import FlagFilter
from organizations.admin.columns import DirectoryAdmin, links_to_lists, zone_widget
from organizations.models import Organization
from organizations.quotas import Quota

_LABELS = {
    Quota.SCHEDULES: "Schedules",
    Quota.SHORTEST_PERIOD: "Shortest period",
    Quota.STORED_BYTES: "Stored bytes",
    Quota.HOOKS: "Hooks",
    Quota.REDELIVERIES: "Redeliveries",
}
_QUOTA_FIELDS = tuple(f"quota_{quota}" for quota in Quota)


@admin.register(Organization)
class OrganizationAdmin(DirectoryAdmin):
    list_display = ("name", "zone", "state", "created")
    list_filter = (("is_active", FlagFilter),)
    search_fields = ("name",)
    search_help_text = "Name or UUID"
    labels = {"timezone": "Time zone", "is_active": "Active", **{f"quota_{each}": _LABELS[each] for each in Quota}}
    actions = ("activate", "deactivate")
    readonly_fields = ("identifier", "created_in_full", "related_lists", "changes")
    add_fieldsets = ((None, {"fields": ("name", "timezone", "is_active")}), ("Quotas", {"fields": _QUOTA_FIELDS}))
    fieldsets = (
        (None, {"fields": ("name", "timezone", "is_active")}),
        ("Quotas", {"fields": _QUOTA_FIELDS}),
        ("About", {"fields": ("identifier", "created_in_full", "related_lists", "changes")}),
    )

    def formfield_for_dbfield(self, db_field: Field[Any, Any], request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "timezone":
            kwargs["widget"] = zone_widget()
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    @admin.display(description="Time zone", ordering="timezone")
    def zone(self, organization: Organization) -> str:
        return organization.timezone

    @admin.display(description="Related")
    def related_lists(self, organization: Organization) -> SafeString:
        lists = (
            ("users", "organizations_user"),
            ("commands", "organizations_command"),
            ("API keys", "auth_tokens_apikey"),
            ("scheduled executions", "scheduling_scheduledexecution"),
            ("deliveries", "deliveries_delivery"),
            ("hooks", "events_hook"),
            ("items", "storage_item"),
            ("activity", "activity_activityrecord"),
        )
        return links_to_lists(f"?organization__id__exact={organization.pk}", lists)
