"""Pages of the ledger, and of commands: it is here that their callback URLs can be checked."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter, ChoicesDropdownFilter, DropdownFilter

from commands_platform.lib.database.identifiers import first_ledger_id_at
from commands_platform.lib.errors import PlatformError
from commands_platform.operators import html
from commands_platform.operators.html import Tone
from commands_platform.operators.model_admin import LargeTableAdmin, ReadOnlyAdmin, object_action
from deliveries import services
from deliveries.models import Delivery, Kind, State
from organizations import admin as organizations_admin
from organizations.models import Command
from outbound.guard import address_guard

if TYPE_CHECKING:
    _DropdownFilter = admin.SimpleListFilter
else:
    _DropdownFilter = DropdownFilter

_TONES: dict[str, Tone] = {
    State.PENDING: "info",
    State.DELIVERED: "success",
    State.FAILED: "danger",
    State.CANCELLED: "neutral",
    State.SKIPPED: "warning",
}
_PERIODS = {
    "hour": ("Last hour", timedelta(hours=1)),
    "day": ("Last 24 hours", timedelta(days=1)),
    "week": ("Last 7 days", timedelta(days=7)),
    "month": ("Last 30 days", timedelta(days=30)),
}

_WHY_NOT = f"still pending, without anything to send, or tried {services.MAX_KEPT_ATTEMPTS} times already"
_OUTCOME = ("state_badge", "why_in_full", "due_in_full", "next_attempt", "given_up", "finished_in_full", "tries")
_IDENTITY = (
    *("identifier", "kind_badge", "source", "command_link", "organization_link", "user_link"),
    *("url_in_full", "extras"),
)

# What a receiver may send back of what it was sent: an exchange token, a webhook-signature; and keys, wherever from.
# Each run of letters is tried once, and from its start: a long one must not cost the square of its length.
_SECRETS = re.compile(
    r"(?<![\w-])[\w-]{10,}+:[0-9A-Za-z]{5,8}:[\w-]{43}|v1,[A-Za-z0-9+/]{43}=|whsec_[A-Za-z0-9+/=_-]+"
    r"|cmdp_[0-9A-Za-z]{8}_[0-9A-Za-z]+",
    re.ASCII,
)
_REMOVED = "[removed]"
_RESPONSE_AT_A_GLANCE = 100


class CommandForm(organizations_admin.CommandForm):
    @staticmethod
    def check_url(url: str) -> str:
        return address_guard().check_url(url)


@admin.register(Command)
class CommandAdmin(organizations_admin.CommandAdmin):
    form = CommandForm


class PeriodFilter(_DropdownFilter):
    """By the time in the primary key, so that a short period is a short range of its index."""

    title = "period"
    parameter_name = "period"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(code, title) for code, (title, _span) in _PERIODS.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> QuerySet[Delivery]:
        if (period := _PERIODS.get(self.value() or "")) is None:
            return queryset
        return queryset.filter(pk__gte=first_ledger_id_at(timezone.now() - period[1]))


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin, LargeTableAdmin):
    """The ledger, read-only; what is finished can be sent once more."""

    list_display = ("due", "outcome", "command_of", "receiver", "tries", "finished")
    list_filter = (
        PeriodFilter,
        ("state", ChoicesDropdownFilter),
        ("reason", ChoicesDropdownFilter),
        ("kind", ChoicesDropdownFilter),
        ("organization", AutocompleteSelectFilter),
        ("command", AutocompleteSelectFilter),
    )
    search_help_text = "UUID of a delivery, a schedule or an event"
    uuid_fields = ("pk", "source_uuid")
    related = ("organization", "command", "user")
    actions = ("redeliver_selected",)
    actions_detail = ("redeliver",)
    fieldsets = (("Outcome", {"fields": _OUTCOME}), ("What it is", {"fields": _IDENTITY}))
    readonly_fields = (*_OUTCOME, *_IDENTITY)
    change_form_after_template = "admin/deliveries/delivery/details.html"

    def for_list(self, rows: QuerySet[Delivery]) -> QuerySet[Delivery]:
        return rows.defer("body", "headers", "attempts")

    def details_of(self, delivery: Delivery) -> dict[str, Any]:
        return {"attempts": attempt_rows(delivery), "body": body_block(delivery)}

    @admin.display(description="Due (UTC)")
    def due(self, delivery: Delivery) -> SafeString:
        return html.instant_and_distance(delivery.due_at)

    @admin.display(description="State")
    def state_badge(self, delivery: Delivery) -> SafeString:
        return state_badge(delivery.state)

    @admin.display(description="State")
    def outcome(self, delivery: Delivery) -> SafeString:
        reason = delivery.get_reason_display()
        slots = f" ({delivery.slot_count} slots)" if delivery.slot_count > 1 else ""
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
    def tries(self, delivery: Delivery) -> SafeString:
        if not delivery.max_attempts or delivery.state == State.SKIPPED:
            return html.NOTHING
        status = f"status {delivery.last_status}" if delivery.last_status else ""
        return html.two_lines(f"{delivery.attempt_count} of {delivery.max_attempts}", status)

    @admin.display(description="Finished")
    def finished(self, delivery: Delivery) -> SafeString:
        if delivery.finished_at is not None:
            return html.when(delivery.finished_at)
        if delivery.lease is not None:
            return html.subtle("being sent")
        return html.when(delivery.next_attempt_at, prefix="next ")

    @admin.display(description="Why")
    def why_in_full(self, delivery: Delivery) -> str:
        return f"{delivery.get_reason_display()} ({delivery.reason})" if delivery.reason else "–"

    @admin.display(description="Due")
    def due_in_full(self, delivery: Delivery) -> SafeString:
        first = html.instant_in_full(delivery.due_at)
        if delivery.slot_count == 1:
            return first
        return format_html(
            "{} slots: the first {}, the last {}",
            delivery.slot_count,
            first,
            html.instant_in_full(delivery.last_due_at),
        )

    @admin.display(description="Next attempt")
    def next_attempt(self, delivery: Delivery) -> SafeString:
        if delivery.leased_until is not None:
            return format_html("it is being sent, by another sender after {} UTC", html.instant(delivery.leased_until))
        return html.instant_in_full(delivery.next_attempt_at)

    @admin.display(description="Given up after")
    def given_up(self, delivery: Delivery) -> SafeString:
        return html.instant_in_full(delivery.expires_at) if delivery.state == State.PENDING else html.NOTHING

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

    @admin.display(description="Command")
    def command_link(self, delivery: Delivery) -> SafeString:
        return html.link_to("organizations_command_change", delivery.command_id, text=delivery.command)

    @admin.display(description="Organization")
    def organization_link(self, delivery: Delivery) -> SafeString:
        return html.link_to("organizations_organization_change", delivery.organization_id, text=delivery.organization)

    @admin.display(description="Runs as")
    def user_link(self, delivery: Delivery) -> SafeString:
        if delivery.user is None:
            return html.subtle("the command and the organization")
        return html.link_to("organizations_user_change", delivery.user_id, text=delivery.user)

    @admin.display(description="URL")
    def url_in_full(self, delivery: Delivery) -> SafeString:
        return html.mono(delivery.url)

    @admin.display(description="Sent with")
    def extras(self, delivery: Delivery) -> SafeString | str:
        """The names of its own headers: their values may be a receiver's secrets."""
        names = header_names(delivery.headers)
        limit = f"a time limit of {delivery.timeout} s" if delivery.timeout else ""
        if not names:
            return limit or "nothing of its own"
        return format_html("headers {}{}", html.badges(names), f" and {limit}" if limit else "")

    @object_action(
        label="Redeliver",
        question="The same body is sent to the same URL, with a full set of attempts and the same webhook-id.",
        button="Send it again",
        icon="replay",
    )
    def redeliver(self, request: HttpRequest, delivery: Delivery) -> str:
        if not services.redeliver(deliveries=Delivery.objects.filter(pk=delivery.pk)):
            raise PlatformError(f"It cannot be sent again: {_WHY_NOT}.")
        self.note(request, delivery, "Sent it again.")
        return "It is sent again."

    @admin.action(description="Redeliver", permissions=["operate"])
    def redeliver_selected(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> None:
        chosen = list(queryset)
        count = services.redeliver(deliveries=Delivery.objects.filter(pk__in=[delivery.pk for delivery in chosen]))
        if count:
            for delivery in chosen:
                self.note(request, delivery, "Asked for it to be sent again.")
            self.message_user(request, f"{count} deliveries are sent again.", messages.SUCCESS)
        if rest := len(chosen) - count:
            self.message_user(request, f"{rest} cannot be sent again: {_WHY_NOT}.", messages.WARNING)


def state_badge(state: str) -> SafeString:
    return html.badge(State(state).label if state in State.values else state, _TONES.get(state, "neutral"))


def header_names(headers: str | Mapping[str, str]) -> list[str]:
    """The names of extra headers, which are JSON in the ledger."""
    if isinstance(headers, str):
        headers = json.loads(headers) if headers else {}
    return sorted(headers)


def attempt_rows(delivery: Delivery) -> list[dict[str, Any]]:
    """The attempts for their table, the latest first; whatever a record lacks is left empty."""
    return [
        _attempt_row(record, delivery.command) for record in reversed(delivery.attempts) if isinstance(record, dict)
    ]


def body_block(delivery: Delivery) -> SafeString | None:
    """The body as it is stored, indented; None where nothing was to be sent."""
    if not delivery.body:
        return None
    try:
        text = json.dumps(json.loads(delivery.body), ensure_ascii=False, indent=2)
    except ValueError:
        text = delivery.body
    return html.block(_without_secrets(text, delivery.command))


def _attempt_row(record: Mapping[str, Any], command: Command) -> dict[str, Any]:
    response = _without_secrets(str(record.get("response") or ""), command)
    status, error = record.get("status"), record.get("error")
    is_success = isinstance(status, int) and 200 <= status < 300
    return {
        "number": record.get("number"),
        "started_at": html.instant(_parsed(record.get("started_at"))),
        "outcome": html.badge(status or error or "?", "success" if is_success else "danger"),
        "cause": record.get("message") or "",
        "total": _milliseconds(record.get("total_ms")),
        "phases": _phases(record),
        "address": html.mono(record.get("address") or ""),
        "glance": response[:_RESPONSE_AT_A_GLANCE],
        "response": html.block(response) if len(response) > _RESPONSE_AT_A_GLANCE else None,
    }


def _phases(record: Mapping[str, Any]) -> str:
    names = (("dns", "dns_ms"), ("connect", "connect_ms"), ("tls", "tls_ms"), ("first byte", "first_byte_ms"))
    return ", ".join(f"{name} {_milliseconds(record[key])}" for name, key in names if record.get(key))


def _milliseconds(value: object) -> str:
    if not isinstance(value, int | float):
        return ""
    return f"{value:.0f} ms" if value >= 10 else f"{value:.1f} ms"


def _parsed(text: object) -> datetime | None:
    try:
        return datetime.fromisoformat(str(text))
    except ValueError:
        return None


def _without_secrets(text: str, command: Command) -> str:
    """The text without what lets anybody act or sign as the command: receivers send back what they were sent."""
    own: Iterable[str] = (command.signature, command.signing_secret, command.previous_signing_secret)
    for secret in filter(None, own):
        text = text.replace(secret, _REMOVED)
    return _SECRETS.sub(_REMOVED, text)
