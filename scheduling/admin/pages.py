"""The pages of schedules. Operators can view, run, pause and delete them. Only the API creates and changes them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from unfold.contrib.filters.admin import AutocompleteSelectFilter, ChoicesDropdownFilter

from commands_platform.lib.errors import PlatformError
from commands_platform.operators.actions import operator_action
from commands_platform.operators.filters import FlagFilter
from commands_platform.operators.large_tables import LargeTableAdmin
from commands_platform.operators.model_admin import ReadOnlyAdmin
from commands_platform.operators.permissions import url_if_allowed
from deliveries.models import Delivery
from scheduling import run_services, services
from scheduling.admin.columns import ScheduleColumns
from scheduling.admin.details import delivery_rows, next_slot_rows
from scheduling.models import ScheduledExecution

_SCHEDULE_FIELDS = (
    *("name_of", "state_in_words", "description", "identifier"),
    *("command_link", "organization_link", "owner_link"),
)
_RUN_FIELDS = ("timing_in_words", "zone_in_words", "next_run_in_full", "runs_left", "window", "late_runs")
_CALLBACK_FIELDS = ("url", "options", "payload_block")
_DATE_FIELDS = ("created_in_full", "updated_in_full", "changes")


@admin.register(ScheduledExecution)
class ScheduledExecutionAdmin(ScheduleColumns, ReadOnlyAdmin, LargeTableAdmin):
    may_be_deleted = True
    list_display = ("name_of", "state", "timing", "next_run", "runs_left", "command_of", "last_result")
    list_filter = (
        ("is_active", FlagFilter),
        ("deactivation_reason", ChoicesDropdownFilter),
        ("organization", AutocompleteSelectFilter),
        ("command", AutocompleteSelectFilter),
    )
    search_help_text = "An exact name, or the UUID of a schedule or user"
    uuid_fields = ("uuid", "owner__uuid")
    related = ("organization", "command", "owner")
    actions = ("run_now", "pause", "resume")
    actions_detail = ("run_now", "pause", "resume")
    fieldsets = (
        (None, {"fields": _SCHEDULE_FIELDS}),
        ("Timing", {"fields": _RUN_FIELDS}),
        ("Callback", {"fields": _CALLBACK_FIELDS}),
        ("About", {"fields": _DATE_FIELDS}),
    )
    readonly_fields = tuple(
        field for field in (*_SCHEDULE_FIELDS, *_RUN_FIELDS, *_CALLBACK_FIELDS, *_DATE_FIELDS) if field != "description"
    )
    change_form_after_template = "admin/scheduling/scheduledexecution/details.html"

    def get_urls(self) -> list[URLPattern]:
        by_uuid = path(
            "by-uuid/<uuid:uuid>/",
            self.admin_site.admin_view(self.by_uuid),
            name="scheduling_scheduledexecution_by_uuid",
        )
        return [by_uuid, *super().get_urls()]

    def by_uuid(self, request: HttpRequest, uuid: UUID) -> HttpResponse:
        """Redirects to a schedule's page by its UUID, because the ledger stores only the UUID."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        schedule = ScheduledExecution.objects.filter(uuid=uuid).only("pk").first()
        if schedule is not None:
            return HttpResponseRedirect(self.change_url(schedule))
        self.message_user(request, "The schedule has been deleted.", messages.INFO)
        deliveries = url_if_allowed("deliveries_delivery_changelist", query=f"?q={uuid}")
        return HttpResponseRedirect(deliveries or reverse("admin:scheduling_scheduledexecution_changelist"))

    def for_list(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        latest = Delivery.objects.filter(source_uuid=OuterRef("uuid")).order_by("-due_at").values("state")[:1]
        listed: QuerySet[Any] = rows.defer("payload", "headers").annotate(last_state=Subquery(latest))
        return listed

    def search_exactly(self, rows: QuerySet[Any], text: str) -> QuerySet[Any]:
        return rows.filter(name=text)

    def delete_model(self, request: HttpRequest, obj: ScheduledExecution) -> None:
        services.delete_scheduled_execution(schedule=obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[ScheduledExecution]) -> None:
        # Delete all or none, because Django then reports the number of schedules selected, not of those deleted.
        with transaction.atomic():
            for schedule in queryset:
                self.delete_model(request, schedule)

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> Any:
        try:
            return super().delete_view(request, object_id, extra_context)
        except PlatformError as error:
            self.message_user(request, error.message, messages.ERROR)
            return HttpResponseRedirect(request.path)

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        try:
            return super().changelist_view(request, extra_context)
        except PlatformError as error:
            if request.method != "POST":
                raise
            self.message_user(request, error.message, messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())

    def details_of(self, schedule: ScheduledExecution) -> dict[str, Any]:
        url = url_if_allowed("deliveries_delivery_changelist", query=f"?q={schedule.uuid}")
        deliveries = delivery_rows(schedule) if url else []
        return {"next_slots": next_slot_rows(schedule), "deliveries": deliveries, "deliveries_url": url}

    @operator_action(
        label="Run now",
        question="The schedule runs once more, at once. Its repeats and its next run stay as they are.",
        icon="play_arrow",
        note="Run once.",
        done="Run started.",
    )
    def run_now(self, schedule: ScheduledExecution) -> None:
        run_services.run_now(schedule=schedule)

    @operator_action(
        label="Pause",
        question="The schedule stops until you resume it. Deliveries that have not been sent are cancelled.",
        icon="pause",
        note="Paused.",
        done="Paused.",
        applies_to=lambda schedule: schedule.is_active,
    )
    def pause(self, schedule: ScheduledExecution) -> None:
        services.pause(schedule=schedule)

    @operator_action(
        label="Resume",
        question="The schedule continues from now on. Runs that were due during the pause are recorded as skipped.",
        icon="resume",
        note="Resumed.",
        done="Resumed.",
        applies_to=lambda schedule: not schedule.is_active,
    )
    def resume(self, schedule: ScheduledExecution) -> None:
        services.resume(schedule=schedule)
