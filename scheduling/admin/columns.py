"""Columns of the list of schedules, and fields of a schedule's page."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import admin
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from commands_platform.operators import html
from commands_platform.operators.columns import DateColumns, OwnerColumns
from commands_platform.operators.html import Tone
from deliveries.admin.columns import header_names, state_badge
from scheduling.cron_grammar import split_expressions
from scheduling.languages import ENGLISH
from scheduling.models import (
    FOREVER,
    DeactivationReason,
    MisfirePolicy,
    OverlapPolicy,
    ScheduledExecution,
    TimezoneType,
)
from scheduling.words import describe

_REASON_TONES: dict[str, Tone] = {DeactivationReason.COMPLETED: "neutral", DeactivationReason.PAUSED: "warning"}
_MISFIRES = {
    MisfirePolicy.FIRE_LATEST: "Only the latest missed run is sent.",
    MisfirePolicy.SKIP: "Missed runs are not sent.",
    MisfirePolicy.FIRE_ALL: "Every missed run is sent.",
}


class ScheduleColumns(OwnerColumns, DateColumns):
    """Columns and fields of a schedule."""

    @admin.display(description="Name")
    def name_of(self, schedule: ScheduledExecution) -> str:
        return schedule.name or "(no name)"

    @admin.display(description="State")
    def state(self, schedule: ScheduledExecution) -> SafeString:
        if schedule.is_active:
            return html.badge("active", "success")
        reason = schedule.deactivation_reason or DeactivationReason.PAUSED
        return html.badge(reason, _REASON_TONES.get(reason, "danger"))

    @admin.display(description="State")
    def state_in_words(self, schedule: ScheduledExecution) -> SafeString:
        reason = "" if schedule.is_active else schedule.get_deactivation_reason_display()
        return format_html("{} {}", self.state(schedule), html.subtle(reason))

    @admin.display(description="Runs")
    def timing(self, schedule: ScheduledExecution) -> SafeString:
        if schedule.cron:
            return html.two_lines(html.clipped(" | ".join(split_expressions(schedule.cron))), schedule.zone)
        if schedule.every:
            return html.two_lines(html.clipped(describe(schedule.recurrence, ENGLISH)), schedule.zone)
        return format_html('<span class="whitespace-nowrap">{}</span>', _without_cron(schedule))

    @admin.display(description="Runs")
    def timing_in_words(self, schedule: ScheduledExecution) -> SafeString | str:
        if not schedule.cron:
            return _without_cron(schedule)
        expressions = ((html.mono(expression),) for expression in split_expressions(schedule.cron))
        lines = format_html_join("", "<div>{}</div>", expressions)
        return format_html("{}{}", lines, "seconds first" if schedule.cron_seconds else "")

    @admin.display(description="Next run (UTC)")
    def next_run(self, schedule: ScheduledExecution) -> SafeString:
        return html.instant_and_distance(schedule.next_run_at) if schedule.is_active else html.DASH

    @admin.display(description="Runs left")
    def runs_left(self, schedule: ScheduledExecution) -> SafeString | str:
        if not schedule.is_recurring:
            return html.subtle("–")
        return html.subtle("unlimited") if schedule.repeats == FOREVER else str(schedule.repeats)

    @admin.display(description="Command")
    def command_of(self, schedule: ScheduledExecution) -> SafeString:
        owner = f" · as {schedule.owner}" if schedule.owner else ""
        return html.two_lines(schedule.command, f"{schedule.organization}{owner}")

    @admin.display(description="Last run")
    def last_result(self, schedule: Any) -> SafeString:
        return state_badge(schedule.last_state) if schedule.last_state else html.DASH

    @admin.display(description="Runs as")
    def owner_link(self, schedule: ScheduledExecution) -> SafeString:
        if schedule.owner is None:
            return html.subtle("no user")
        return html.link_to("organizations_user_change", schedule.owner_id, text=schedule.owner)

    @admin.display(description="Time zone")
    def zone_in_words(self, schedule: ScheduledExecution) -> str:
        whose = {TimezoneType.ORGANIZATION: "of the organization", TimezoneType.USER: "of the user"}
        return f"{schedule.zone} ({whose.get(TimezoneType(schedule.timezone_type), 'of the schedule')})"

    @admin.display(description="Start and end")
    def window(self, schedule: ScheduledExecution) -> SafeString:
        if schedule.starts_at is None and schedule.ends_at is None:
            return html.subtle("no limits")
        return format_html(
            "from {} to {}", html.instant_in_full(schedule.starts_at), html.instant_in_full(schedule.ends_at)
        )

    @admin.display(description="Late runs")
    def late_runs(self, schedule: ScheduledExecution) -> str:
        missed = _MISFIRES[MisfirePolicy(schedule.misfire_policy)]
        overlap = ""
        if schedule.overlap != OverlapPolicy.ALLOW:
            overlap = f" If a run is due during another one, {schedule.get_overlap_display()}."
        return (
            f"A run counts as missed if an outage ended more than {schedule.misfire_grace} s later. {missed}{overlap}"
        )

    @admin.display(description="Next run")
    def next_run_in_full(self, schedule: ScheduledExecution) -> SafeString:
        return html.instant_in_full(schedule.next_run_at) if schedule.is_active else html.DASH

    @admin.display(description="URL")
    def url(self, schedule: ScheduledExecution) -> SafeString:
        url = schedule.effective_callback_url
        if not url:
            return html.badge("none: runs are skipped", "warning")
        whose = "of the schedule" if schedule.callback_url else "of the command"
        return format_html("{} {}", html.mono(url), html.subtle(f"({whose})"))

    @admin.display(description="Options")
    def options(self, schedule: ScheduledExecution) -> SafeString:
        """Returns the names of the headers. Their values may be a receiver's secrets, so they are not shown."""
        names = header_names(schedule.headers)
        parts = [format_html("headers {}", html.badges(names))] if names else []
        if names and not schedule.sent_headers:
            parts = [
                format_html("no headers: {} were given for {}", html.badges(names), html.mono(schedule.headers_origin))
            ]
        if schedule.timeout:
            parts.append(format_html("timeout {} s", schedule.timeout))
        if schedule.max_attempts:
            plural = "" if schedule.max_attempts == 1 else "s"
            parts.append(format_html("at most {} attempt{}", schedule.max_attempts, plural))
        return format_html_join(", ", "{}", ((part,) for part in parts)) or html.subtle("none")

    @admin.display(description="Payload")
    def payload_block(self, schedule: ScheduledExecution) -> SafeString:
        return html.pretty_json(schedule.payload)


def _without_cron(schedule: ScheduledExecution) -> str:
    if schedule.every:
        return describe(schedule.recurrence, ENGLISH)
    if not schedule.execution_frequency:
        return "once"
    return f"every {html.exact_span(settings.FREQUENCY_UNIT * schedule.execution_frequency)}"
