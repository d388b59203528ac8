"""The bodies of the endpoints that run, pause and resume schedules."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from commands_platform.lib.http.fields import (
    LINES,
    InstantField,
    JsonObjectField,
    NullIsAbsentSerializer,
    StrictCharField,
)
from commands_platform.lib.http.outputs import Output
from scheduling.models import ScheduledExecution


class RunInput(NullIsAbsentSerializer[ScheduledExecution]):
    """A run by hand. Without `payload`, the schedule's own is sent."""

    payload = JsonObjectField(required=False)


class PauseInput(serializers.Serializer[ScheduledExecution]):
    """A pause. Both fields are optional."""

    reason = StrictCharField(max_length=500, null_is_empty=True, allowed_controls=LINES)
    until = InstantField(required=False, allow_null=True, help_text="When the schedule resumes by itself.")


class RunStartedOutput(Output[Any]):
    delivery_uuid = serializers.UUIDField(help_text="The run's row among the slots of the schedule.")
