"""The pages of hooks. Operators can view and remove hooks. Commands subscribe through the API."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from commands_platform.operators import html
from commands_platform.operators.actions import operator_action
from commands_platform.operators.columns import DateColumns, OwnerColumns
from commands_platform.operators.model_admin import ReadOnlyAdmin
from events import services
from events.models import Hook

_MAX_HOOK_NUMBER = 2**63 - 1


@admin.register(Hook)
class HookAdmin(OwnerColumns, DateColumns, ReadOnlyAdmin):
    may_be_deleted = True
    actions_detail = ("send_sample",)
    list_display = ("number", "events", "objects", "command_of", "user_of", "updated")
    list_filter = (("organization", AutocompleteSelectFilter), ("command", AutocompleteSelectFilter))
    search_fields = ("command__name", "user__full_name", "organization__name")
    search_help_text = "Number, command, user, organization, or their UUID"
    uuid_fields = ("user__uuid", "command__uuid", "organization__uuid")
    ordering = ("-pk",)
    related = ("organization", "command", "user")
    fieldsets = (
        (None, {"fields": ("number", "events_in_full", "objects_in_full", "receiver")}),
        ("Owner", {"fields": ("command_link", "user_link", "organization_link")}),
        ("About", {"fields": ("created_in_full", "updated_in_full", "changes")}),
    )
    readonly_fields = (
        *("number", "events_in_full", "objects_in_full", "receiver", "command_link", "user_link", "organization_link"),
        *("created_in_full", "updated_in_full", "changes"),
    )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        number = search_term.strip()
        if number.isascii() and number.isdigit() and len(number) < 20 and int(number) <= _MAX_HOOK_NUMBER:
            return queryset.filter(pk=int(number)), False
        return super().get_search_results(request, queryset, search_term)

    def delete_model(self, request: HttpRequest, obj: Hook) -> None:
        services.remove_hook(hook=obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Hook]) -> None:
        for hook in queryset:
            self.delete_model(request, hook)

    @admin.display(description="Hook", ordering="pk")
    def number(self, hook: Hook) -> str:
        return f"hook {hook.pk}"

    @admin.display(description="Events")
    def events(self, hook: Hook) -> SafeString:
        return html.badges(hook.subscriptions, most=2)

    @admin.display(description="Objects")
    def objects(self, hook: Hook) -> SafeString | str:
        return str(len(hook.subscribed_objects)) if hook.subscribed_objects else html.subtle("any")

    @admin.display(description="Receiver")
    def receiver(self, hook: Hook) -> SafeString:
        return html.clipped(html.origin(hook.callback_url or hook.command.callback_url))

    @admin.display(description="Command")
    def command_of(self, hook: Hook) -> SafeString:
        return html.two_lines(hook.command, hook.organization)

    @admin.display(description="User")
    def user_of(self, hook: Hook) -> SafeString | str:
        return hook.user.full_name if hook.user else html.DASH

    @admin.display(description="Subscribed (UTC)", ordering="updated_at")
    def updated(self, hook: Hook) -> SafeString:
        return html.instant_and_distance(hook.updated_at)

    @admin.display(description="Events")
    def events_in_full(self, hook: Hook) -> SafeString:
        return html.badges(hook.subscriptions)

    @admin.display(description="Objects")
    def objects_in_full(self, hook: Hook) -> SafeString:
        return html.badges(hook.subscribed_objects) if hook.subscribed_objects else html.subtle("any object")

    @operator_action(
        label="Send a sample",
        question="The hook's receiver gets the event platform.hook.test.",
        icon="send",
        note="Sent a sample.",
        done="A sample is being sent.",
    )
    def send_sample(self, hook: Hook) -> None:
        services.send_sample(hook=hook)
