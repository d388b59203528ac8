"""The bodies of the calendar endpoints."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from commands_platform.lib.http.fields import BoundedListField, InstantField, StrictCharField
from commands_platform.lib.http.outputs import Output
from commands_platform.lib.http.renderers import RawJson
from scheduling.calendars import MAX_DATES, Calendar


class CalendarChanges(serializers.Serializer[Calendar]):
    """The days of a calendar. They replace the ones before."""

    dates = BoundedListField(
        child=StrictCharField(max_length=32),
        max_length=MAX_DATES,
        help_text="Dates such as 2026-12-25, and spans such as 2026-12-24/2026-12-26, which include both ends.",
    )


class CalendarInput(CalendarChanges):
    """A new calendar."""

    name = StrictCharField(max_length=64)


class CalendarQuery(serializers.Serializer[Calendar]):
    """The query of a new calendar that is sent as an iCalendar file."""

    name = StrictCharField(max_length=64, required=False, help_text="Its name, if the body is an iCalendar file.")


@extend_schema_field({"type": "array", "items": {"type": "string"}})
class DatesOutputField(serializers.Field[str, str, RawJson, str]):
    """Days that are stored as JSON text."""

    @staticmethod
    def write(value: str) -> RawJson:
        return RawJson(value)


class CalendarOutput(Output[Calendar]):
    """A calendar with its days."""

    name = serializers.CharField()
    dates = DatesOutputField()
    created_at = InstantField()
    updated_at = InstantField()
