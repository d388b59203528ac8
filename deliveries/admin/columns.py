"""Columns of the ledger's list, and fields of a delivery's page."""

from __future__ import annotations

import json
from collections.abc import Mapping

from django.contrib import admin
from django.utils.html import format_html
from django.utils.safestring import SafeString

from commands_platform.operators import html
from commands_platform.operators.columns import OwnerColumns
from commands_platform.operators.html import Tone
from deliveries.models import Delivery, Kind, State

_STATE_TONES: dict[str, Tone] = {
    State.PENDING: "info",
    State.DELIVERED: "success",
    State.FAILED: "danger",
    State.CANCELLED: "neutral",
    State.SKIPPED: "warning",
}


class DeliveryColumns(OwnerColumns):
    """Columns and fields of a delivery."""

    @admin.display(description="Due (UTC)")
    def due(self, delivery: Delivery) -> SafeString:
        return html.instant_and_distance(delivery.due_at)

    @admin.display(description="State")
    def state_badge(self, delivery: Delivery) -> SafeString:
        return state_badge(delivery.state)

    @admin.display(description="State")
    def outcome(self, delivery: Delivery) -> SafeString:
        reason = delivery.get_reason_display()
        slots = f" ({delivery.slot_count} runs)" if delivery.slot_count > 1 else ""
        return html.explained(state_badge(delivery.state), f"{reason}{slots}")

    @admin.display(description="Kind")
    def kind_badge(self, delivery: Delivery) -> SafeString:
        return html.plain_badge(delivery.get_kind_display())

    @admin.display(description="Command")
    def command_of(self, delivery: Delivery) -> SafeString:
        return html.two_lines(delivery.command, delivery.organization)

    @admin.display(description="Receiver")
    def receiver(self, delivery: Delivery) -> SafeString:
        return html.two_lines(html.clipped(html.origin(delivery.url)), delivery.get_kind_display().lower())

    @admin.display(description="Attempts")
    def attempts_made(self, delivery: Delivery) -> SafeString:
        if not delivery.max_attempts or delivery.state == State.SKIPPED:
            return html.DASH
        status = f"status {delivery.last_status}" if delivery.last_status else ""
        return html.two_lines(f"{delivery.attempt_count} of {delivery.max_attempts}", status)

    @admin.display(description="Finished")
    def finished(self, delivery: Delivery) -> SafeString:
        if delivery.finished_at is not None:
            return html.when(delivery.finished_at)
        if delivery.lease is not None:
            return html.subtle("in flight")
        return html.when(delivery.next_attempt_at, prefix="next ")

    @admin.display(description="Reason")
    def reason_in_full(self, delivery: Delivery) -> str:
        return f"{delivery.get_reason_display()} ({delivery.reason})" if delivery.reason else "–"

    @admin.display(description="Due")
    def due_in_full(self, delivery: Delivery) -> SafeString:
        first = html.instant_in_full(delivery.due_at)
        if delivery.slot_count == 1:
            return first
        return format_html(
            "{} runs: the first {}, the last {}",
            delivery.slot_count,
            first,
            html.instant_in_full(delivery.last_due_at),
        )

    @admin.display(description="Next attempt")
    def next_attempt(self, delivery: Delivery) -> SafeString:
        if delivery.leased_until is not None:
            return format_html(
                "In flight. Another sender may take it after {} UTC.", html.instant(delivery.leased_until)
            )
        return html.instant_in_full(delivery.next_attempt_at)

    @admin.display(description="Retried until")
    def retried_until(self, delivery: Delivery) -> SafeString:
        return html.instant_in_full(delivery.expires_at) if delivery.state == State.PENDING else html.DASH

    @admin.display(description="Finished")
    def finished_in_full(self, delivery: Delivery) -> SafeString:
        return html.instant_in_full(delivery.finished_at)

    @admin.display(description="ID")
    def identifier(self, delivery: Delivery) -> SafeString:
        return html.mono(delivery.pk)

    @admin.display(description="Source")
    def source(self, delivery: Delivery) -> SafeString:
        if delivery.kind != Kind.EVENT:
            link = html.link_to("scheduling_scheduledexecution_by_uuid", delivery.source_uuid, text="schedule")
            return format_html("{} {}", link, html.mono(delivery.source_uuid))
        number = delivery.destination.removeprefix("hook:")
        if not number.isdigit():
            return format_html("event {}", html.mono(delivery.source_uuid))
        hook = html.link_to("events_hook_change", number, text=f"hook {number}")
        return format_html("event {} for {}", html.mono(delivery.source_uuid), hook)

    @admin.display(description="Runs as")
    def user_link(self, delivery: Delivery) -> SafeString:
        if delivery.user is None:
            return html.subtle("no user")
        return super().user_link(delivery)

    @admin.display(description="URL")
    def url_in_full(self, delivery: Delivery) -> SafeString:
        return html.mono(delivery.url)

    @admin.display(description="Options")
    def options(self, delivery: Delivery) -> SafeString | str:
        """Returns the names of the headers. Their values may be a receiver's secrets, so they are not shown."""
        names = header_names(delivery.headers)
        limit = f"timeout {delivery.timeout} s" if delivery.timeout else ""
        if not names:
            return limit or "none"
        return format_html("headers {}{}", html.badges(names), f", {limit}" if limit else "")


def state_badge(state: str) -> SafeString:
    return html.badge(State(state).label if state in State.values else state, _STATE_TONES.get(state, "neutral"))


def header_names(headers: str | Mapping[str, str]) -> list[str]:
    """Returns the names of custom headers. The ledger stores headers as JSON text, a schedule as a mapping."""
    if isinstance(headers, str):
        headers = json.loads(headers) if headers else {}
    return sorted(headers)
