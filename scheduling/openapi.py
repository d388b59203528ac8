"""Adds examples and the callback of a run to the OpenAPI document of scheduling. The examples work as they stand."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiCallback, OpenApiExample, OpenApiResponse, extend_schema
from rest_framework import serializers

from commands_platform.lib.http.fields import InstantField
from commands_platform.lib.http.outputs import Output


def _request(name: str, value: dict[str, Any]) -> OpenApiExample:
    return OpenApiExample(name, value, request_only=True)


CREATE_EXAMPLES = [
    _request(
        "Every Monday morning",
        {
            "name": "Weekly report",
            "cron": "30 9 * * MON",
            "timezone_type": "custom_timezone",
            "timezone": "Europe/Berlin",
            "payload": {"report": "weekly"},
        },
    ),
    _request(
        "Every second Monday",
        {
            "name": "Sprint review",
            "every": {"weeks": 2, "on": ["MON"], "at": "09:00"},
            "timezone": "Europe/Berlin",
            "starts_at": "2035-01-01T00:00:00Z",
        },
    ),
    _request("Every hour, ten times", {"name": "Poll", "execution_frequency": 3600, "repeats": 10}),
    _request("Once, as soon as possible", {"name": "Now", "payload": {"text": "Hello"}}),
    _request(
        "Once, at a given time, to another URL",
        {"name": "Reminder", "starts_at": "2035-01-01T09:00:00Z", "callback_url": "https://example.com/hook"},
    ),
]
PREVIEW_EXAMPLES = [
    _request(
        "Around a clock change",
        {"cron": "30 2 * * *", "timezone": "Europe/Berlin", "from": "2035-03-24T00:00:00Z", "count": 3},
    ),
]
CALENDAR_EXAMPLES = [
    _request("Two holidays", {"name": "holidays-de", "dates": ["2035-10-03", "2035-12-24/2035-12-26"]}),
]
CALENDAR_CHANGE_EXAMPLES = [_request("Other days", {"dates": ["2035-10-03"]})]
SCHEDULE_CHANGE_EXAMPLES = [
    _request("Pause", {"is_active": False}),
    _request("Rename and retime", {"name": "Daily report", "cron": "0 9 * * *"}),
]
BULK_EXAMPLES = [
    _request(
        "Two schedules",
        {"schedules": [{"name": "Morning", "cron": "0 9 * * *"}, {"name": "Evening", "cron": "0 18 * * *"}]},
    )
]
RUN_EXAMPLES = [_request("With another payload", {"payload": {"report": "now"}}), _request("As it is", {})]
PAUSE_EXAMPLES = [_request("For a while", {"reason": "The receiver moves.", "until": "2035-01-01T09:00:00Z"})]
REDELIVERY_EXAMPLES = [
    _request(
        "See how many failed on a day",
        {"from": "2026-02-25T00:00:00Z", "to": "2026-02-26T00:00:00Z", "states": ["failed"], "dry_run": True},
    ),
    _request(
        "Send what failed once more", {"from": "2026-02-25T00:00:00Z", "to": "2026-02-26T00:00:00Z", "limit": 500}
    ),
]


class RunOutput(Output[Any]):
    """The schedule and the run that a callback is for."""

    uuid = serializers.UUIDField(help_text="The schedule's.")
    name = serializers.CharField()
    due_at = InstantField()
    attempt = serializers.IntegerField(help_text="1 for the first attempt.")


class RunCallbackOutput(Output[Any]):
    """The body of a run's callback."""

    intent = serializers.CharField(help_text="The command's name.")
    query = serializers.CharField(allow_blank=True, help_text="Always empty.")
    event_timestamp = InstantField()
    organization_uuid = serializers.UUIDField()
    user_uuid = serializers.UUIDField(allow_null=True)
    user_full_name = serializers.CharField(allow_null=True)
    command_uuid = serializers.UUIDField()
    exchange_token = serializers.CharField(
        help_text="A new one for each attempt. It acts for the schedule's user, if there is one."
    )
    payload = serializers.DictField(help_text="The schedule's.")
    scheduled_execution = RunOutput()


CALLBACK_ANSWERS = {
    "2XX": OpenApiResponse(description="Delivered once the status and headers have arrived. The body is not needed."),
    "4XX": OpenApiResponse(description="Failed for good. Only 408, 425 and 429 are retried."),
    "5XX": OpenApiResponse(description="Retried later. `Retry-After` is respected."),
}
RUN_CALLBACK = OpenApiCallback(
    "run",
    "{$request.body#/callback_url}",
    extend_schema(
        request=RunCallbackOutput,
        responses=CALLBACK_ANSWERS,
        summary="A run of the schedule is due",
        description="It is sent to the schedule's `callback_url`, or else to its command's. Temporary failures are "
        "retried with growing pauses.",
    ),
)
