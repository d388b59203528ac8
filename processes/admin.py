"""The list of processes. Operators can only read it."""

from __future__ import annotations

from django.contrib import admin
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter

from commands_platform.operators import html
from commands_platform.operators.model_admin import ReadOnlyAdmin
from processes.heartbeats import MAX_SILENCE
from processes.models import Process

_PROCESS_FIELDS = ("role", "state", "host", "pid", "version", "started", "worked", "seen", "taken_over")


@admin.register(Process)
class ProcessAdmin(ReadOnlyAdmin):
    list_display = ("role", "state", "where", "version", "started", "worked", "seen")
    list_filter = (("role", ChoicesDropdownFilter),)
    ordering = ("role", "host", "started_at")
    search_fields = ("host",)
    search_help_text = "A part of the host's name"
    uuid_fields = ("pk",)
    fieldsets = ((None, {"fields": _PROCESS_FIELDS}),)
    readonly_fields = _PROCESS_FIELDS

    @admin.display(description="State")
    def state(self, process: Process) -> SafeString:
        is_alive = abs(timezone.now() - process.seen_at) <= MAX_SILENCE
        return html.badge("alive", "success") if is_alive else html.badge("dead", "danger")

    @admin.display(description="Host", ordering="host")
    def where(self, process: Process) -> SafeString:
        return html.two_lines(process.host, f"process {process.pid}")

    @admin.display(description="Started", ordering="started_at")
    def started(self, process: Process) -> SafeString:
        return html.instant_and_distance(process.started_at)

    @admin.display(description="Last work", ordering="worked_at")
    def worked(self, process: Process) -> SafeString:
        return html.when(process.worked_at, never="–")

    @admin.display(description="Last seen", ordering="seen_at")
    def seen(self, process: Process) -> SafeString:
        return html.when(process.seen_at)

    @admin.display(description="Taken over")
    def taken_over(self, process: Process) -> SafeString:
        return html.instant_in_full(process.taken_over_at)
