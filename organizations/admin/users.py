"""The pages of users."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Field
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter, ChoicesDropdownFilter

from commands_platform.operators import html
from commands_platform.operators.actions import operator_action
from commands_platform.operators.filters import FlagFilter
from commands_platform.operators.forms import AllConstraintsForm
from organizations import services
from organizations.admin.columns import DirectoryAdmin, links_to_lists, zone_widget
from organizations.models import User


class UserForm(AllConstraintsForm):
    """Shows the error for a duplicate email address next to its field. The database constraint could not do that."""

    shown_fields = frozenset({"organization"})

    def clean(self) -> dict[str, Any] | None:
        cleaned = super().clean()
        email = self.cleaned_data.get("email")
        organization_id = getattr(self.cleaned_data.get("organization"), "pk", None) or self.instance.organization_id
        if email and organization_id:
            others = User.objects.filter(organization=organization_id, email__iexact=email).exclude(pk=self.instance.pk)
            if others.exists():
                self.add_error("email", "Another user of the organization has this address.")
        return cleaned


@admin.register(User)
class UserAdmin(DirectoryAdmin):
    """The platform's users. They cannot log in to the admin."""

    form = UserForm
    list_display = ("full_name", "email", "organization", "role_badge", "zone", "state")
    list_filter = (
        ("organization", AutocompleteSelectFilter),
        ("role", ChoicesDropdownFilter),
        ("is_active", FlagFilter),
    )
    search_fields = ("full_name", "email", "organization__name")
    search_help_text = "Name, email, organization or UUID"
    labels = {"timezone": "Time zone", "is_active": "Active", "email": "Email"}
    related = ("organization",)
    autocomplete_fields = ("organization",)
    actions = ("activate", "deactivate", "revoke_tokens")
    actions_detail = ("revoke_tokens",)
    # A user cannot change their organization, because their schedules, hooks, items and keys belong to that one.
    readonly_fields = ("organization_link", "identifier", "created_in_full", "related_lists", "changes")
    add_fieldsets = ((None, {"fields": ("organization", "full_name", "email", "role", "timezone", "is_active")}),)
    fieldsets = (
        (None, {"fields": ("organization_link", "full_name", "email", "role", "timezone", "is_active")}),
        ("About", {"fields": ("identifier", "created_in_full", "related_lists", "changes")}),
    )

    def formfield_for_dbfield(self, db_field: Field[Any, Any], request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "timezone":
            kwargs["widget"] = zone_widget(empty="The zone of the organization")
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    @admin.display(description="Role", ordering="role")
    def role_badge(self, user: User) -> SafeString:
        return html.badge(user.get_role_display(), "info" if user.role == User.Role.ADMIN else "neutral")

    @admin.display(description="Time zone")
    def zone(self, user: User) -> SafeString | str:
        return user.timezone or html.subtle(user.organization.timezone)

    @admin.display(description="Related")
    def related_lists(self, user: User) -> SafeString:
        lists = (
            ("scheduled executions", "scheduling_scheduledexecution"),
            ("hooks", "events_hook"),
            ("items", "storage_item"),
            ("activity", "activity_activityrecord"),
        )
        return links_to_lists(f"?q={user.uuid}", lists)

    @operator_action(
        label="Revoke tokens",
        question="All exchange tokens that act as this user stop working. Commands can fetch new ones.",
        icon="block",
        note="Revoked the exchange tokens.",
        done="Exchange tokens revoked.",
    )
    def revoke_tokens(self, user: User) -> None:
        services.revoke_tokens_of_user(user=user)
