"""The bodies of the endpoints that run, pause and resume schedules."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from commands_platform.lib.http.fields import (
    LINES,
    BoundedListField,
    InstantField,
    JsonObjectField,
    NullIsAbsentSerializer,
    StrictCharField,
)
from commands_platform.lib.http.outputs import Output
from scheduling.models import ScheduledExecution
from scheduling.serializers import ScheduledExecutionCreatedOutput

MAX_BULK = 1000


class RunInput(NullIsAbsentSerializer[ScheduledExecution]):
    """A run by hand. Without `payload`, the schedule's own is sent."""

    payload = JsonObjectField(required=False)


class PauseInput(serializers.Serializer[ScheduledExecution]):
    """A pause. Both fields are optional."""

    reason = StrictCharField(max_length=500, null_is_empty=True, allowed_controls=LINES)
    until = InstantField(required=False, allow_null=True, help_text="When the schedule resumes by itself.")


class BulkInput(serializers.Serializer[ScheduledExecution]):
    """Schedules to create."""

    schedules = BoundedListField(
        child=JsonObjectField(),
        max_length=MAX_BULK,
        allow_empty=False,
        help_text=f"Up to {MAX_BULK} bodies, each as for the creation of one schedule.",
    )


class BulkOutput(Output[Any]):
    results = ScheduledExecutionCreatedOutput(many=True)


class RunStartedOutput(Output[Any]):
    delivery_uuid = serializers.UUIDField(help_text="The run's row among the slots of the schedule.")
