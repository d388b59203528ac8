"""Creates the objects that the examples of the OpenAPI document name, so that each example works unchanged."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from auth_tokens.models import ApiKey
from commands_platform.lib.http.schema import EXAMPLE_NAME, example_uuid
from deliveries.models import Kind, State
from events.models import Hook
from organizations.models import Command, User
from scheduling.calendars import Calendar
from scheduling.models import ScheduledExecution
from tests.api import ApiClient
from tests.factories import make_api_key, make_attempt, make_command, make_delivery, make_installation, make_schedule

# Lies within the period of the examples of redelivery.
DUE_AT = datetime(2026, 2, 25, 12, 0, tzinfo=UTC)


def populate(client: ApiClient) -> None:
    """Creates one object for each kind that a path can name."""
    for make in MAKERS.values():
        make(client)


def _make_user(client: ApiClient) -> None:
    user = client.caller.user
    User.objects.filter(pk=user.pk).update(uuid=example_uuid("users"))


def _make_schedule(client: ApiClient) -> None:
    make_schedule(
        client.caller.command,
        uuid=example_uuid("scheduling"),
        owner=client.caller.user,
        callback_url="http://127.0.0.1:8099/callback",
        payload={"report": "weekly"},
        headers={"X-Own": "1"},
    )


def _make_slot(client: ApiClient) -> None:
    schedule = ScheduledExecution.objects.get(uuid=example_uuid("scheduling"))
    make_delivery(
        client.caller.command,
        id=example_uuid("slots"),
        source_uuid=schedule.uuid,
        due_at=DUE_AT,
        state=State.FAILED,
        reason="rejected",
        next_attempt_at=None,
        finished_at=DUE_AT,
        attempt_count=1,
        attempts=[make_attempt(started_at=DUE_AT, status=404)],
    )


def _make_installation(client: ApiClient) -> None:
    """Creates an installed command, and another one that the example installs."""
    make_command(is_public=True, uuid=example_uuid("public-commands"))
    installed = make_command(is_public=True)
    make_installation(installed, client.caller.organization, uuid=example_uuid("installations"))
    Hook.objects.create(organization=client.caller.organization, command=installed, subscriptions=["kudos.*"])


def _make_calendar(client: ApiClient) -> None:
    Calendar.objects.create(organization=client.caller.organization, name=EXAMPLE_NAME, dates='["2026-12-25"]')


def _make_command(client: ApiClient) -> None:
    make_command(client.caller.organization, uuid=example_uuid("commands"))


def _make_api_key(client: ApiClient) -> None:
    row, _ = make_api_key(client.caller.organization, scopes=[])
    ApiKey.objects.filter(pk=row.pk).update(uuid=example_uuid("api-keys"))


def _leave_the_external_id_free(client: ApiClient) -> None:
    """Makes nothing, because PUT creates the schedule."""


def _make_event(client: ApiClient) -> None:
    """Creates the caller's hook, which can be tested, and an event that was sent to it."""
    caller = client.caller
    Command.objects.filter(pk=caller.command.pk).update(callback_url="http://127.0.0.1:9/callback")
    hook = Hook.objects.create(
        organization=caller.organization, command=caller.command, user=caller.user, subscriptions=["kudos.*"]
    )
    Hook.objects.create(
        organization=caller.organization,
        command=caller.command,
        subscriptions=["kudos.*"],
        callback_url="https://example.com/webhooks/old",
    )
    make_delivery(
        caller.command, kind=Kind.EVENT, destination=hook.destination, source_uuid=example_uuid("events"), due_at=DUE_AT
    )


MAKERS: dict[str, Callable[[ApiClient], None]] = {
    "users": _make_user,
    "scheduling": _make_schedule,
    "slots": _make_slot,
    "installations": _make_installation,
    "calendars": _make_calendar,
    "by-external-id": _leave_the_external_id_free,
    "commands": _make_command,
    "api-keys": _make_api_key,
    "events": _make_event,
}
