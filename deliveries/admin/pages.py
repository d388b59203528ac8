"""The pages of the ledger."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter, ChoicesDropdownFilter

from commands_platform.lib.errors import PlatformError
from commands_platform.operators.actions import operator_action
from commands_platform.operators.large_tables import LargeTableAdmin
from commands_platform.operators.model_admin import ReadOnlyAdmin
from deliveries import services
from deliveries.admin.columns import DeliveryColumns
from deliveries.admin.details import attempt_rows, body_block
from deliveries.admin.filters import PeriodFilter
from deliveries.models import Delivery

_OUTCOME_FIELDS = (
    "state_badge",
    "reason_in_full",
    "due_in_full",
    "next_attempt",
    "retried_until",
    "finished_in_full",
    "attempts_made",
)
_DELIVERY_FIELDS = (
    *("identifier", "kind_badge", "source", "command_link", "organization_link", "user_link"),
    *("url_in_full", "options"),
)


@admin.register(Delivery)
class DeliveryAdmin(DeliveryColumns, ReadOnlyAdmin, LargeTableAdmin):
    """Shows the ledger. Deliveries cannot be changed, but a finished one can be sent again."""

    list_display = ("due", "outcome", "command_of", "receiver", "attempts_made", "finished")
    list_filter = (
        PeriodFilter,
        ("state", ChoicesDropdownFilter),
        ("reason", ChoicesDropdownFilter),
        ("kind", ChoicesDropdownFilter),
        ("organization", AutocompleteSelectFilter),
        ("command", AutocompleteSelectFilter),
    )
    search_help_text = "The UUID of a delivery, a schedule or an event"
    uuid_fields = ("pk", "source_uuid")
    related = ("organization", "command", "user")
    actions = ("redeliver",)
    actions_detail = ("redeliver",)
    fieldsets = (("Outcome", {"fields": _OUTCOME_FIELDS}), ("Delivery", {"fields": _DELIVERY_FIELDS}))
    readonly_fields = (*_OUTCOME_FIELDS, *_DELIVERY_FIELDS)
    change_form_after_template = "admin/deliveries/delivery/details.html"

    def for_list(self, rows: QuerySet[Delivery]) -> QuerySet[Delivery]:
        return rows.defer("body", "headers", "attempts")

    def details_of(self, delivery: Delivery) -> dict[str, Any]:
        return {"attempts": attempt_rows(delivery), "body": body_block(delivery)}

    def action_checkbox(self, delivery: Delivery) -> SafeString:
        """Returns the row's checkbox, or nothing if the row cannot be sent again."""
        return super().action_checkbox(delivery) if services.is_redeliverable(delivery) else SafeString()

    @operator_action(
        label="Redeliver",
        question="The same body is sent to the same URL with the same webhook-id. All attempts start over.",
        icon="replay",
        note="Sent again.",
        done="Sent again.",
        is_offered_for=services.is_redeliverable,
    )
    def redeliver(self, delivery: Delivery) -> None:
        if not services.redeliver(deliveries=Delivery.objects.filter(pk=delivery.pk)):
            raise PlatformError(
                "It cannot be sent again, because it is still pending, has nothing to send, or has had"
                f" {services.MAX_KEPT_ATTEMPTS} attempts."
            )
