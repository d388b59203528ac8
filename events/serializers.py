"""The bodies of the event endpoints; whether a name is well-formed is decided by the services."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from commands_platform.lib.fields import JsonObjectField, StrictCharField
from events.matching import MAX_NAME_LENGTH
from events.models import Hook

MAX_SUBSCRIPTIONS = 100
MAX_OBJECTS = 1000
_OBJECT_LENGTH = 255


class _Texts(serializers.ListField):
    """An array of at most `most` strings of at most `length` characters."""

    def __init__(self, *, most: int, length: int, **kwargs: Any) -> None:
        self.most = most
        super().__init__(child=StrictCharField(max_length=length), **kwargs)

    def to_internal_value(self, data: Any) -> list[Any]:
        # Counted first: looking at each of half a million strings takes seconds.
        if isinstance(data, list) and len(data) > self.most:
            raise serializers.ValidationError(f"There may be {self.most} of these at most.", code="max_length")
        return super().to_internal_value(data)


class _TextOrTexts(_Texts):
    """The same, or one bare string."""

    def to_internal_value(self, data: Any) -> list[Any]:
        return super().to_internal_value([data] if isinstance(data, str) else data)


class EventSubscriptionInput(serializers.Serializer[Hook]):
    subscriptions = _TextOrTexts(most=MAX_SUBSCRIPTIONS, length=MAX_NAME_LENGTH, allow_empty=False)
    subscribed_objects = _Texts(most=MAX_OBJECTS, length=_OBJECT_LENGTH, default=list)


class EventSubscriptionOutput(serializers.Serializer[Hook]):
    hook_uuid = serializers.IntegerField()


class EventInput(serializers.Serializer[Any]):
    event = StrictCharField(max_length=MAX_NAME_LENGTH)
    body = JsonObjectField(default=dict)
    object = StrictCharField(max_length=_OBJECT_LENGTH, required=False, allow_null=True, default=None)


class EventOutput(serializers.Serializer[Any]):
    uuid = serializers.UUIDField()
    deliveries = serializers.IntegerField()
