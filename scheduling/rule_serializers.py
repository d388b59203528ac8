"""The bodies of the endpoints that show when schedules run."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from commands_platform.lib.http.fields import InstantField, StrictCharField, StrictIntegerField
from commands_platform.lib.http.outputs import Output
from commands_platform.lib.http.pagination import PageNumberField
from scheduling.models import ScheduledExecution
from scheduling.serializers import ScheduledExecutionInput
from scheduling.upcoming import MAX_UPCOMING_SLOTS, NOTES, UpcomingSlot

DEFAULT_UPCOMING_SLOTS = 10


class NextSlotsQuery(serializers.Serializer[ScheduledExecution]):
    """Which slots are listed: `count` of them, at or after `from`."""

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        # A class cannot declare the name `from`.
        count = PageNumberField(largest=MAX_UPCOMING_SLOTS, if_zero=DEFAULT_UPCOMING_SLOTS)
        return {**super().get_fields(), "count": count, "from": _from_field()}


class PreviewInput(ScheduledExecutionInput):
    """A schedule as for POST, which is not stored, and which of its slots are listed."""

    name = StrictCharField(max_length=255, required=False)

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        count = StrictIntegerField(min_value=1, max_value=MAX_UPCOMING_SLOTS, default=DEFAULT_UPCOMING_SLOTS)
        return {**super().get_fields(), "count": count, "from": _from_field()}


class UpcomingSlotOutput(Output[UpcomingSlot]):
    due_at = InstantField()
    local = serializers.DateTimeField(help_text="The same time in the schedule's time zone, with its offset.")
    note = serializers.ChoiceField(
        choices=NOTES,
        allow_null=True,
        help_text="`after_gap`: a clock change skips its time, so it comes right after the gap. `first_of_two` and "
        "`second_of_two`: a clock change repeats its time.",
    )


class UpcomingOutput(Output[Any]):
    """When a schedule runs."""

    text = serializers.CharField(help_text="The rule in words, in the language of `Accept-Language`: en or es.")
    timezone = serializers.CharField(help_text="The time zone that the rule is read in.")
    slots = UpcomingSlotOutput(many=True)


def _from_field() -> InstantField:
    return InstantField(required=False, help_text="Slots from this instant on. The default is now.")
