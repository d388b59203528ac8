"""The bodies of the event endpoints. The services decide whether a name is well-formed."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from commands_platform.lib.http.fields import (
    BoundedListField,
    InstantField,
    JsonObjectField,
    NullIsAbsentSerializer,
    StrictBooleanField,
    StrictCharField,
)
from commands_platform.lib.http.outputs import NullIfEmptyField, Output, page_of
from deliveries.models import Delivery, State
from events.catalogue import EventType
from events.matching import MAX_NAME_LENGTH
from events.models import Hook
from events.publishing import NewEvent

MAX_SUBSCRIPTIONS = 100
MAX_OBJECTS = 1000
_MAX_OBJECT_LENGTH = 255
_MAX_URL_LENGTH = 2048
_MAX_BEARER_LENGTH = 1024


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


class HookDetailOutput(EventSubscriptionOutput):
    """A hook with its lists."""

    subscriptions = serializers.ListField(child=serializers.CharField())
    subscribed_objects = serializers.ListField(child=serializers.CharField())
    created_at = InstantField()
    updated_at = InstantField()


class SampleInput(serializers.Serializer[Any]):
    """An event that is sent to one hook, as a test."""

    event = StrictCharField(max_length=MAX_NAME_LENGTH, required=False, help_text="By default `platform.hook.test`.")
    body = JsonObjectField(required=False, help_text="By default the sample of the event's type, or an empty object.")


class SampleOutput(Output[NewEvent]):
    event_uuid = serializers.UUIDField(source="uuid")
    event = serializers.CharField(source="name")


class EventTypeOutput(Output[EventType]):
    """A type of event that the platform publishes."""

    event = serializers.CharField(source="name")
    description = serializers.CharField()
    body = serializers.DictField(source="sample", help_text="A sample.")


class EventDeliveryOutput(Output[Delivery]):
    """The delivery of an event to one hook."""

    uuid = serializers.UUIDField(source="pk")
    hook_id = serializers.IntegerField(help_text="The hook's number.")
    state = serializers.ChoiceField(choices=State.choices)
    reason = NullIfEmptyField(help_text="Why it was not delivered.")
    attempts = serializers.IntegerField(source="attempt_count")
    status = serializers.IntegerField(source="last_status", allow_null=True)
    next_attempt_at = InstantField(allow_null=True)
    finished_at = InstantField(allow_null=True)

    @staticmethod
    def get_hook_id(delivery: Delivery) -> int:
        return int(delivery.destination.removeprefix("hook:"))


class EventDetailOutput(Output[Any]):
    """An event that was published, and a page of its deliveries."""

    uuid = serializers.UUIDField()
    event = serializers.CharField(allow_null=True)
    happened_at = InstantField()
    is_fanned_out = serializers.BooleanField(help_text="False while hooks may still be missing from the deliveries.")
    counts = serializers.DictField(child=serializers.IntegerField(), help_text="The number of deliveries by state.")
    deliveries = page_of(EventDeliveryOutput)()


class WebhookInput(EventSubscriptionInput):
    """A URL that events are sent to."""

    hook_url = StrictCharField(max_length=_MAX_URL_LENGTH)
    name = StrictCharField(max_length=_MAX_OBJECT_LENGTH, required=False, allow_blank=True, default="")
    bearer = StrictCharField(
        max_length=_MAX_BEARER_LENGTH,
        required=False,
        allow_blank=True,
        default="",
        help_text="Sent with each callback as `X-BEARER`.",
    )
    immediate_sample_event = StrictBooleanField(default=False)


class WebhookOutput(Output[Hook]):
    id = serializers.IntegerField(source="pk")
    hook_url = serializers.CharField(source="callback_url")
    name = serializers.CharField()
    subscriptions = serializers.ListField(child=serializers.CharField())
    subscribed_objects = serializers.ListField(child=serializers.CharField())
    created_at = InstantField()


class WebhookChoice(serializers.Serializer[Hook]):
    """Says which subscription, by its id or its URL."""

    id = serializers.IntegerField(required=False, min_value=1, max_value=2**63 - 1)
    hook_url = StrictCharField(max_length=_MAX_URL_LENGTH, required=False)


class EventSampleInput(serializers.Serializer[Any]):
    event = StrictCharField(max_length=MAX_NAME_LENGTH, required=False, help_text="By default `platform.hook.test`.")


class SampleHookOutput(Output[Any]):
    id = serializers.IntegerField()
    name = serializers.CharField()


class EventSampleOutput(Output[Any]):
    """A sample of the documented callback of an event."""

    event = serializers.CharField()
    event_timestamp = serializers.FloatField()
    hook = SampleHookOutput()
    body = serializers.DictField()


class EventInput(serializers.Serializer[Any]):
    event = StrictCharField(max_length=MAX_NAME_LENGTH)
    body = JsonObjectField(default=dict)
    object = StrictCharField(max_length=_MAX_OBJECT_LENGTH, required=False, allow_null=True, default=None)


class EventOutput(Output[Any]):
    uuid = serializers.UUIDField()
    deliveries = serializers.IntegerField(help_text="The number of hooks that want it.")
