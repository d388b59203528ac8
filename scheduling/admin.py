"""The pages of schedules. They are made and changed by the API; here they are looked at, run, paused and removed."""

from __future__ import annotations

from datetime import timedelta
from itertools import islice
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter, BooleanRadioFilter, ChoicesDropdownFilter

from commands_platform.lib.errors import PlatformError
from commands_platform.operators import html
from commands_platform.operators.html import Tone
from commands_platform.operators.model_admin import LargeTableAdmin, ReadOnlyAdmin, object_action
from deliveries.admin import header_names, state_badge
from deliveries.models import Delivery
from scheduling import services
from scheduling.models import FOREVER, DeactivationReason, MisfirePolicy, ScheduledExecution, TimezoneType
from scheduling.recurrence import load_zone, slots

_SLOTS_SHOWN = 5
_DELIVERIES_SHOWN = 10
_IDENTITY = (
    *("name_of", "state_in_words", "description", "identifier"),
    *("command_link", "organization_link", "owner_link"),
)
_TIMING = ("timing_in_words", "zone_in_words", "next_run_in_full", "left", "window", "late_slots")
_CALLBACK = ("url", "extras", "payload_block")
_DATES = ("created_in_full", "updated_in_full")
_TONES: dict[str, Tone] = {DeactivationReason.COMPLETED: "neutral", DeactivationReason.PAUSED: "warning"}
_MISFIRES = {
    MisfirePolicy.FIRE_LATEST: "the latest is sent",
    MisfirePolicy.SKIP: "none is sent",
    MisfirePolicy.FIRE_ALL: "each is sent",
}


@admin.register(ScheduledExecution)
class ScheduledExecutionAdmin(ReadOnlyAdmin, LargeTableAdmin):
    may_be_deleted = True
    list_display = ("name_of", "state", "timing", "next_run", "left", "command_of", "last_result")
    list_filter = (
        ("is_active", BooleanRadioFilter),
        ("deactivation_reason", ChoicesDropdownFilter),
        ("organization", AutocompleteSelectFilter),
        ("command", AutocompleteSelectFilter),
    )
    search_help_text = "A name, exactly, or the UUID of a schedule or user"
    uuid_fields = ("uuid", "owner__uuid")
    related = ("organization", "command", "owner")
    actions = ("run_selected", "pause_selected", "resume_selected")
    actions_detail = ("run_now", "pause", "resume")
    fieldsets = (
        (None, {"fields": _IDENTITY}),
        ("Timing", {"fields": _TIMING}),
        ("Callback", {"fields": _CALLBACK}),
        ("About", {"fields": _DATES}),
    )
    readonly_fields = tuple(field for field in (*_IDENTITY, *_TIMING, *_CALLBACK, *_DATES) if field != "description")
    change_form_after_template = "admin/scheduling/scheduledexecution/details.html"

    def get_actions_detail(self, request: HttpRequest, object_id: str) -> list[Any]:
        """Those that make sense: what is paused cannot be paused."""
        schedule = self.get_object(request, unquote(object_id))
        hidden = "resume" if schedule and schedule.is_active else "pause"
        actions: list[Any] = super().get_actions_detail(request, object_id)  # type: ignore[misc]
        return [action for action in actions if not action.action_name.endswith(f"_{hidden}")]

    def get_urls(self) -> list[URLPattern]:
        by_uuid = path(
            "by-uuid/<uuid:uuid>/",
            self.admin_site.admin_view(self.by_uuid),
            name="scheduling_scheduledexecution_by_uuid",
        )
        return [by_uuid, *super().get_urls()]

    def by_uuid(self, request: HttpRequest, uuid: UUID) -> HttpResponse:
        """The way to a schedule's page for who knows its UUID alone, as the ledger does."""
        schedule = ScheduledExecution.objects.filter(uuid=uuid).only("pk").first()
        if schedule is not None:
            return HttpResponseRedirect(self.change_url(schedule))
        self.message_user(request, "The schedule has been deleted; these are its deliveries.", messages.INFO)
        return HttpResponseRedirect(f"{reverse('admin:deliveries_delivery_changelist')}?q={uuid}")

    def for_list(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        latest = Delivery.objects.filter(source_uuid=OuterRef("uuid")).order_by("-due_at").values("state")[:1]
        listed: QuerySet[Any] = rows.defer("payload", "headers").annotate(last_state=Subquery(latest))
        return listed

    def search_exactly(self, rows: QuerySet[Any], text: str) -> QuerySet[Any]:
        return rows.filter(name=text)

    def delete_model(self, request: HttpRequest, obj: ScheduledExecution) -> None:
        services.delete_scheduled_execution(schedule=obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[ScheduledExecution]) -> None:
        for schedule in queryset:
            self.delete_model(request, schedule)

    def details_of(self, schedule: ScheduledExecution) -> dict[str, Any]:
        return {"next_slots": next_slot_rows(schedule), "deliveries": _delivery_rows(schedule)}

    @admin.display(description="Name")
    def name_of(self, schedule: ScheduledExecution) -> str:
        return schedule.name or "(no name)"

    @admin.display(description="State")
    def state(self, schedule: ScheduledExecution) -> SafeString:
        if schedule.is_active:
            return html.badge("active", "success")
        reason = schedule.deactivation_reason or DeactivationReason.PAUSED
        return html.badge(reason, _TONES.get(reason, "danger"))

    @admin.display(description="State")
    def state_in_words(self, schedule: ScheduledExecution) -> SafeString:
        reason = "" if schedule.is_active else schedule.get_deactivation_reason_display()
        return format_html("{} {}", self.state(schedule), html.subtle(reason))

    @admin.display(description="Runs")
    def timing(self, schedule: ScheduledExecution) -> SafeString:
        if schedule.cron:
            return html.two_lines(html.clipped(schedule.cron), schedule.zone)
        return format_html('<span class="whitespace-nowrap">{}</span>', _without_cron(schedule))

    @admin.display(description="Runs")
    def timing_in_words(self, schedule: ScheduledExecution) -> SafeString | str:
        if not schedule.cron:
            return _without_cron(schedule)
        return format_html("{}{}", html.mono(schedule.cron), " (seconds first)" if schedule.cron_seconds else "")

    @admin.display(description="Next run (UTC)")
    def next_run(self, schedule: ScheduledExecution) -> SafeString:
        return html.instant_and_distance(schedule.next_run_at) if schedule.is_active else html.NOTHING

    @admin.display(description="Runs left")
    def left(self, schedule: ScheduledExecution) -> SafeString | str:
        if not schedule.is_recurring:
            return html.subtle("–")
        return html.subtle("no end") if schedule.repeats == FOREVER else str(schedule.repeats)

    @admin.display(description="Command")
    def command_of(self, schedule: ScheduledExecution) -> SafeString:
        owner = f" · as {schedule.owner}" if schedule.owner else ""
        return html.two_lines(schedule.command, f"{schedule.organization}{owner}")

    @admin.display(description="Last slot")
    def last_result(self, schedule: Any) -> SafeString:
        return state_badge(schedule.last_state) if schedule.last_state else html.NOTHING

    @admin.display(description="Command")
    def command_link(self, schedule: ScheduledExecution) -> SafeString:
        return html.link_to("organizations_command_change", schedule.command_id, text=schedule.command)

    @admin.display(description="Organization")
    def organization_link(self, schedule: ScheduledExecution) -> SafeString:
        return html.link_to("organizations_organization_change", schedule.organization_id, text=schedule.organization)

    @admin.display(description="Runs as")
    def owner_link(self, schedule: ScheduledExecution) -> SafeString:
        if schedule.owner is None:
            return html.subtle("the command and the organization")
        return html.link_to("organizations_user_change", schedule.owner_id, text=schedule.owner)

    @admin.display(description="Time zone")
    def zone_in_words(self, schedule: ScheduledExecution) -> str:
        whose = {TimezoneType.ORGANIZATION: "the organization's", TimezoneType.USER: "the user's"}
        return f"{schedule.zone} ({whose.get(TimezoneType(schedule.timezone_type), 'its own')})"

    @admin.display(description="Not before, not after")
    def window(self, schedule: ScheduledExecution) -> SafeString:
        if schedule.starts_at is None and schedule.ends_at is None:
            return html.subtle("no limits")
        return format_html(
            "from {} to {}", html.instant_in_full(schedule.starts_at), html.instant_in_full(schedule.ends_at)
        )

    @admin.display(description="Late slots")
    def late_slots(self, schedule: ScheduledExecution) -> str:
        missed = _MISFIRES[MisfirePolicy(schedule.misfire_policy)]
        overlap = " A slot is skipped while the one before it is not finished." if schedule.skip_overlapping else ""
        return f"Missed after {schedule.misfire_grace} s; of those that were missed, {missed}.{overlap}"

    @admin.display(description="Next run")
    def next_run_in_full(self, schedule: ScheduledExecution) -> SafeString:
        return html.instant_in_full(schedule.next_run_at) if schedule.is_active else html.NOTHING

    @admin.display(description="URL")
    def url(self, schedule: ScheduledExecution) -> SafeString:
        url = schedule.effective_callback_url
        if not url:
            return html.badge("none: its slots are skipped", "warning")
        whose = "its own" if schedule.callback_url else "the command's"
        return format_html("{} {}", html.mono(url), html.subtle(f"({whose})"))

    @admin.display(description="Sent with")
    def extras(self, schedule: ScheduledExecution) -> SafeString:
        """The names of its own headers: their values may be a receiver's secrets."""
        names = header_names(schedule.headers)
        parts = [format_html("headers {}", html.badges(names))] if names else []
        if schedule.timeout:
            parts.append(format_html("a time limit of {} s", schedule.timeout))
        if schedule.max_attempts:
            parts.append(format_html("{} attempts at the most", schedule.max_attempts))
        return format_html_join(", ", "{}", ((part,) for part in parts)) or html.subtle("nothing of its own")

    @admin.display(description="Payload")
    def payload_block(self, schedule: ScheduledExecution) -> SafeString:
        return html.pretty_json(schedule.payload)

    @admin.display(description="Created")
    def created_in_full(self, schedule: ScheduledExecution) -> SafeString:
        return html.instant_in_full(schedule.created_at)

    @admin.display(description="Updated")
    def updated_in_full(self, schedule: ScheduledExecution) -> SafeString:
        return html.instant_in_full(schedule.updated_at)

    @object_action(
        label="Run now",
        question="One extra run, at once. It takes none of the repeats and does not move the next run.",
        button="Run it",
        icon="play_arrow",
    )
    def run_now(self, request: HttpRequest, schedule: ScheduledExecution) -> str:
        services.run_now(schedule=schedule)
        self.note(request, schedule, "Ran it once.")
        return "It runs now."

    @object_action(
        label="Pause",
        question="It stops until it is resumed. What it has not sent yet is cancelled.",
        button="Pause it",
        icon="pause",
    )
    def pause(self, request: HttpRequest, schedule: ScheduledExecution) -> str:
        services.pause(schedule=schedule)
        self.note(request, schedule, "Paused it.")
        return "It is paused."

    @object_action(
        label="Resume",
        question="It goes on from now, in its old phase. The slots of the pause are recorded as skipped.",
        button="Resume it",
        icon="resume",
    )
    def resume(self, request: HttpRequest, schedule: ScheduledExecution) -> str:
        services.resume(schedule=schedule)
        self.note(request, schedule, "Resumed it.")
        return "It goes on."

    @admin.action(description="Run now", permissions=["operate"])
    def run_selected(self, request: HttpRequest, queryset: QuerySet[ScheduledExecution]) -> None:
        self.for_each(
            request,
            queryset,
            lambda schedule: services.run_now(schedule=schedule),
            done="schedules run now.",
            note="Ran it once.",
        )

    @admin.action(description="Pause", permissions=["operate"])
    def pause_selected(self, request: HttpRequest, queryset: QuerySet[ScheduledExecution]) -> None:
        self.for_each(
            request,
            queryset,
            lambda schedule: services.pause(schedule=schedule),
            done="schedules are paused.",
            note="Paused it.",
        )

    @admin.action(description="Resume", permissions=["operate"])
    def resume_selected(self, request: HttpRequest, queryset: QuerySet[ScheduledExecution]) -> None:
        self.for_each(
            request,
            queryset,
            lambda schedule: services.resume(schedule=schedule),
            done="schedules go on.",
            note="Resumed it.",
        )


def next_slot_rows(schedule: ScheduledExecution) -> dict[str, Any]:
    """The next slots, by the wall clock of the schedule's zone and in UTC; or why there are none to be shown."""
    now = timezone.now()
    most = _SLOTS_SHOWN if schedule.repeats == FOREVER else min(_SLOTS_SHOWN, schedule.repeats)
    try:
        zone = load_zone(schedule.zone)
        after = now if schedule.starts_at is None else max(now, schedule.starts_at - timedelta(microseconds=1))
        upcoming = list(islice(slots(schedule.recurrence, after=after, until=schedule.ends_at), most))
    except PlatformError as error:
        return {"rows": [], "note": error.message}
    rows = [
        {
            "local": slot.astimezone(zone).strftime("%a %Y-%m-%d %H:%M:%S %Z"),
            "instant": html.instant(slot),
            "distance": html.distance(slot, now=now),
        }
        for slot in upcoming
    ]
    note = "" if schedule.is_active else "It is not active: these are the slots it would have."
    return {"rows": rows, "note": note if rows else "", "zone": schedule.zone}


def _without_cron(schedule: ScheduledExecution) -> str:
    if not schedule.execution_frequency:
        return "once"
    return f"every {html.exact_span(settings.FREQUENCY_UNIT * schedule.execution_frequency)}"


def _delivery_rows(schedule: ScheduledExecution) -> list[dict[str, Any]]:
    latest = Delivery.objects.of_source(schedule.uuid).order_by("-due_at").defer("body", "attempts")
    return [
        {
            "link": html.link_to("deliveries_delivery_change", delivery.pk, text=html.instant(delivery.due_at)),
            "distance": html.distance(delivery.due_at),
            "state": state_badge(delivery.state),
            "why": delivery.get_reason_display(),
            "slot_count": delivery.slot_count,
            "kind": delivery.get_kind_display(),
            "attempts": delivery.attempt_count,
            "status": delivery.last_status,
        }
        for delivery in latest[:_DELIVERIES_SHOWN]
    ]
