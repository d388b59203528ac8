"""Describes events in the OpenAPI document: examples that work as they are, and the callback of a hook."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, OpenApiWebhook, extend_schema
from rest_framework import serializers

from commands_platform.lib.http.outputs import Output

SUBSCRIPTION_EXAMPLES = [
    OpenApiExample(
        "Everything of the platform, and answers to one form",
        {"subscriptions": ["forms.response.created", "platform.*"], "subscribed_objects": ["form-7"]},
        request_only=True,
    ),
    OpenApiExample("One event", {"subscriptions": "kudos.posted"}, request_only=True),
]
SAMPLE_EXAMPLES = [
    OpenApiExample("A test", {}, request_only=True),
    OpenApiExample("A sample of a type", {"event": "platform.schedule.completed"}, request_only=True),
]
WEBHOOK_EXAMPLES = [
    OpenApiExample(
        "Answers to forms",
        {
            "hook_url": "https://example.com/webhooks",
            "subscriptions": ["forms.response.created"],
            "name": "Answers",
            "bearer": "a-secret-of-the-receiver",
        },
        request_only=True,
    ),
]
WEBHOOK_CHOICE = [
    OpenApiParameter("id", int, description="The subscription's id."),
    OpenApiParameter(
        "hook_url",
        str,
        description="The subscription's URL.",
        examples=[OpenApiExample("A URL", "https://example.com/webhooks/old")],
    ),
]
EVENT_EXAMPLES = [
    OpenApiExample(
        "A form was answered",
        {"event": "forms.response.created", "object": "form-7", "body": {"answer": 42}},
        request_only=True,
    )
]


class HookOutput(Output[Any]):
    """The subscription that an event is sent for."""

    id = serializers.IntegerField()
    name = serializers.CharField(help_text="The command's name.")


class EventCallbackOutput(Output[Any]):
    """The body of an event's callback."""

    event = serializers.CharField()
    event_timestamp = serializers.FloatField(help_text="When it happened, in Unix seconds.")
    hook = HookOutput()
    body = serializers.DictField()
    event_uuid = serializers.UUIDField()
    user_uuid = serializers.UUIDField(allow_null=True, help_text="The hook's user.")
    user_full_name = serializers.CharField(allow_null=True)
    exchange_token = serializers.CharField(help_text="Lets the command act for the hook's user.")


EVENT_WEBHOOK = OpenApiWebhook(
    "event",
    extend_schema(
        request=EventCallbackOutput,
        responses={
            "2XX": OpenApiResponse(description="Delivered."),
            "4XX": OpenApiResponse(description="Failed for good. Only 408, 425 and 429 are retried."),
            "5XX": OpenApiResponse(description="Retried later. `Retry-After` is respected."),
        },
        summary="An event that a hook has subscribed to",
        description="It is sent to the command's own URL, with the headers and retries of every callback.",
        tags=["Callbacks"],
    ),
)
