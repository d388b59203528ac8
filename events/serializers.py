"""The bodies of the event endpoints. The services decide whether a name is well-formed."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from commands_platform.lib.http.fields import BoundedListField, JsonObjectField, NullIsAbsentSerializer, StrictCharField
from commands_platform.lib.http.outputs import Output
from events.matching import MAX_NAME_LENGTH
from events.models import Hook

MAX_SUBSCRIPTIONS = 100
MAX_OBJECTS = 1000
_MAX_OBJECT_LENGTH = 255


@extend_schema_field(
    {"oneOf": [{"type": "array", "items": {"type": "string"}, "maxItems": MAX_SUBSCRIPTIONS}, {"type": "string"}]}
)
class _TextOrTexts(BoundedListField):
    """An array of strings, or one bare string."""

    def to_internal_value(self, data: Any) -> list[Any]:
        return super().to_internal_value([data] if isinstance(data, str) else data)


class EventSubscriptionInput(NullIsAbsentSerializer[Hook]):
    subscriptions = _TextOrTexts(
        child=StrictCharField(max_length=MAX_NAME_LENGTH), max_length=MAX_SUBSCRIPTIONS, allow_empty=False
    )
    subscribed_objects = BoundedListField(
        child=StrictCharField(max_length=_MAX_OBJECT_LENGTH), max_length=MAX_OBJECTS, default=list
    )


class EventSubscriptionOutput(Output[Hook]):
    hook_uuid = serializers.IntegerField(source="pk", help_text="The hook's number.")


class EventInput(serializers.Serializer[Any]):
    event = StrictCharField(max_length=MAX_NAME_LENGTH)
    body = JsonObjectField(default=dict)
    object = StrictCharField(max_length=_MAX_OBJECT_LENGTH, required=False, allow_null=True, default=None)


class EventOutput(Output[Any]):
    uuid = serializers.UUIDField()
    deliveries = serializers.IntegerField(help_text="The number of hooks that want it.")
