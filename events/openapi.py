"""Describes events in the OpenAPI document: examples that work as they are, and the callback of a hook."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiResponse, OpenApiWebhook, extend_schema
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
